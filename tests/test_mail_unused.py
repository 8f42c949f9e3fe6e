"""Closed mailboxes are forgotten with the last of their mail, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rig import rig

SESSIONS = "SELECT session FROM mailboxes WHERE session IS NOT NULL ORDER BY id"
SHORT: Any = {"mail__retention_ms": 60_000, "mail__dedupe_ms": 1_000}


async def test_one_that_held_a_delivery_is_kept_as_long_as_that(tmp_path: Path) -> None:
    async with rig(tmp_path, **SHORT) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice")
        label = alice.welcome["session"]
        sent = await owner.ask("mail.send", to=f"alice/{label}", body=1)
        (mail,) = alice.mail()
        await alice.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        await alice.ask("bye")
        await r.restart()
        owner = await r.join("owner", role="service")
        trace = await owner.ask("mail.trace", message=sent["message"])
        assert trace["deliveries"][0]["mailbox"] == f"alice/{label}"
        await r.advance(400_000)
        await owner.refused("not_found", "mail.trace", message=sent["message"])
        assert r.rows("SELECT count(*) FROM deliveries") == [(0,)]
        assert r.rows(SESSIONS) == []


async def test_one_that_still_holds_something_is_kept(tmp_path: Path) -> None:
    async with rig(tmp_path, **SHORT) as r:
        owner = await r.join("owner", role="service")
        await r.join("alice", role="service", capacity=0)
        alice = await r.join("alice", session="s1")
        await owner.ask("mail.send", to="alice/s1", body=1)
        await alice.ask("bye", final=True)
        await r.join("alice", session="s1")
        await r.advance(400_000)
        assert r.rows(SESSIONS) == [("s1",)]


async def test_a_long_walk_goes_in_chunks(tmp_path: Path) -> None:
    """More than one chunk, and those in between that still hold something stay."""
    async with rig(tmp_path, **SHORT) as r:
        owner = await r.join("owner", role="service")
        for number in range(130):
            label = f"s{number:03}"
            alice = await r.join("alice", session=label, capacity=0)
            ttl_ms = 900_000 if number % 50 == 7 else None
            await owner.ask("mail.send", to=f"alice/{label}", body=1, ttl_ms=ttl_ms)
            await alice.ask("bye", final=number % 50 != 7)
        await r.advance(300_000)
        assert r.rows("SELECT count(*) FROM mailboxes WHERE session IS NOT NULL") == [(0,)]
        assert r.rows("SELECT count(*) FROM delivery_stretches") == [(0,)]


async def test_the_mailbox_of_a_removed_member_is_forgotten_too(tmp_path: Path) -> None:
    async with rig(tmp_path, **SHORT) as r:
        owner = await r.join("owner", role="service")
        await r.join("alice", role="service", capacity=0)
        await owner.ask("mail.send", to="alice", body=1)
        await owner.ask("member.remove", member="alice")
        await r.advance(30_000)
        assert r.rows("SELECT count(*) FROM mailboxes") == [(2,)]
        await r.advance(300_000)
        assert r.rows("SELECT count(*) FROM mailboxes") == [(1,)]
