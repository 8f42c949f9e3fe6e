"""What peers see of a presence, and what of it is a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from presence_watch import watching
from rig import START, rig

from broker.areas.presence import show
from broker.wire.presence import Peer

UNSEEN = {"in_flight", "last_seen_at", "self_", "presence", "member", "session", "address", "role"}
"""What is no change, and what stays as long as the presence does."""


async def test_every_other_field_is_a_change(tmp_path: Path) -> None:
    """A field that peers get to see later on has to be a change as well, or be named above."""
    changes: dict[str, Any] = {
        "status": "dnd",
        "summary": "new",
        "capacity": 9,
        "host": "box2",
        "client_name": "other",
        "client_version": "2",
        "conversation": None,
    }
    seen = {"transport": "conversation", "client": "client_name"}
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service", client={"name": "robot"})
        presence = alice.conversation.presence
        assert presence is not None
        fields = {field.name for field in msgspec.structs.fields(Peer)} - UNSEEN
        for name in fields - {"groups", "connected_at"}:
            attribute = seen.get(name, name)
            before, was = show.seen(presence), getattr(presence, attribute)
            setattr(presence, attribute, changes[attribute])
            assert show.seen(presence) != before, name
            setattr(presence, attribute, was)
        before = show.seen(presence)
        presence.box.groups["@team"] = None
        assert show.seen(presence) != before
        presence.box.groups.clear()


async def test_last_seen_is_when_anything_came(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        bob = await r.join("bob", role="service")
        await r.advance(4_000)
        alice.conversation.alive()  # a pong
        await r.advance(3_000)
        seen = {p["member"]: p["last_seen_at"] for p in (await bob.ask("peer.list"))["peers"]}
        assert seen == {"alice": START + 4_000, "bob": START + 7_000}


async def test_a_client_without_a_name_is_none(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service", client=None)
        bob = await r.join("bob", role="service", client={"name": "robot"})
        peers = (await bob.ask("peer.list"))["peers"]
        assert [peer["client"] for peer in peers] == [None, {"name": "robot", "version": None}]
        assert alice.welcome["resumed"] is False


@pytest.mark.parametrize("watchers", [1, 3])
async def test_every_watcher_is_told_the_same(tmp_path: Path, watchers: int) -> None:
    async with rig(tmp_path) as r:
        told = [await watching(r) for _ in range(watchers)]
        for watcher in told:
            watcher.events()
        alice = await r.join("alice", role="service")
        events = [watcher.events() for watcher in told]
        assert all(event == events[0] for event in events)
        assert events[0][0]["peer"]["presence"] == alice.welcome["presence"]
        assert events[0][0]["peer"]["self"] is False
