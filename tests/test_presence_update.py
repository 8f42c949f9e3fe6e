"""`presence.update`: what it changes, what it delivers, and that it is a sign of life."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rig import START, rig


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"status": "dnd"}, {"status": "idle"}),
        ({"status": "dnd"}, {"status": "working"}),
        ({"capacity": 0}, {"capacity": 1}),
        ({"status": "working", "capacity": 0}, {"status": "idle", "capacity": 5}),
    ],
)
async def test_what_it_makes_deliverable_is_delivered_now(
    tmp_path: Path, before: dict[str, Any], change: dict[str, Any]
) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service", **before)
        await owner.ask("mail.send", to="alice", body=1)
        assert alice.mail() == []
        await alice.ask("presence.update", **change)
        assert [mail["body"] for mail in alice.mail()] == [1]


async def test_a_status_takes_from_its_priority_on(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service", status="dnd")
        for priority in (100, 99, 50, 49, 0):
            await owner.ask("mail.send", to="alice", body=priority, priority=priority)
        assert [mail["body"] for mail in alice.mail()] == [100]
        await alice.ask("presence.update", status="working")
        assert [mail["body"] for mail in alice.mail()] == [99, 50]
        await alice.ask("presence.update", status="idle")
        assert [mail["body"] for mail in alice.mail()] == [49, 0]


async def test_more_capacity_takes_more(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service", capacity=1)
        for body in range(4):
            await owner.ask("mail.send", to="alice", body=body)
        assert [mail["body"] for mail in alice.mail()] == [0]
        await alice.ask("presence.update", capacity=3)
        assert [mail["body"] for mail in alice.mail()] == [1, 2]
        await alice.ask("presence.update", capacity=1)
        assert alice.mail() == []


async def test_an_empty_one_is_a_sign_of_life(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service", status="dnd", summary="x", capacity=2)
        await r.advance(7_000)
        assert await alice.ask("presence.update") == {}
        (peer,) = (await alice.ask("peer.list"))["peers"]
        assert peer["last_seen_at"] == START + 7_000
        assert (peer["status"], peer["summary"], peer["capacity"]) == ("dnd", "x", 2)


async def test_what_it_changes_survives_a_restart(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        await alice.ask("presence.update", status="working", summary="busy", capacity=9)
        await r.restart()
        owner = await r.join("owner", observe=True)
        (peer,) = (await owner.ask("peer.list"))["peers"]
        assert (peer["status"], peer["summary"], peer["capacity"]) == ("working", "busy", 9)


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "asleep"), ("status", None), ("summary", "x" * 4_097), ("summary", "é" * 2_049)],
)
async def test_bad_values_are_named(tmp_path: Path, field: str, value: object) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        error = await alice.refused("bad_request", "presence.update", **{field: value})
        assert field in error["message"]
