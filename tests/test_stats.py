"""`broker.stats`: every figure, of one mesh only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from presence_watch import one_batch
from rig import Peer, Rig, rig

from broker import __version__

NO_DELEGATIONS = dict.fromkeys(
    ("queued", "dispatched", "in_progress", "completed", "failed", "stuck", "cancelled"), 0
)
NO_DISPATCHES = dict.fromkeys(
    ("pending", "leased", "consumed", "failed", "expired", "cancelled"), 0
)


async def test_the_figures_of_an_empty_mesh(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        await r.advance(5_000)
        stats = await owner.ask("broker.stats")
        storage = stats.pop("storage")
        assert stats == {
            "version": __version__,
            "uptime_ms": 5_000,
            "presences": {"control-plane": 0, "session": 0, "service": 0},
            "deliveries": {
                "queued": 0,
                "claimed": 0,
                "acked": 0,
                "dead": 0,
                "expired": 0,
                "cancelled": 0,
            },
            "mailboxes": {"open": 1, "deepest": []},
            "delegations": NO_DELEGATIONS,
            "dispatches": NO_DISPATCHES,
        }
        assert storage["bytes"] > 0
        assert storage["wal_bytes"] > 0


async def test_who_is_there(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        for role in ("session", "service", "service", "control-plane"):
            peer = await r.join("alice", role=role)
        await peer.lose()
        await r.join("alice", role="control-plane", observe=True)
        stats = await owner.ask("broker.stats")
        assert stats["presences"] == {"control-plane": 1, "session": 1, "service": 2}
        assert stats["mailboxes"]["open"] == 3


async def every_state(r: Rig, owner: Peer, name: str) -> None:
    """One delivery in each state, and three in the queue."""
    alice = await r.join(name, role="service", capacity=1)
    for _ in range(2):
        await owner.ask("mail.send", to=name, body=1)
        (mail,) = alice.mail()
        await alice.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
    await owner.ask("mail.send", to=name, body=1, max_attempts=1)
    (mail,) = alice.mail()
    await alice.ask("mail.nack", delivery=mail["delivery"], claim=mail["claim"])
    await owner.ask("mail.send", to=name, body=1)
    sent = await owner.ask("mail.send", to=name, body=1)
    await owner.ask("mail.cancel", message=sent["message"])
    await owner.ask("mail.send", to=name, body=1, ttl_ms=1_000)
    await r.advance(1_000)
    for _ in range(3):
        await owner.ask("mail.send", to=name, body=1)


async def test_deliveries_by_state(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await every_state(r, owner, "alice")
        expected = {
            "queued": 3,
            "claimed": 1,
            "acked": 2,
            "dead": 1,
            "expired": 1,
            "cancelled": 1,
        }
        assert (await owner.ask("broker.stats"))["deliveries"] == expected
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", mesh="far", token=made["token"], role="service")
        assert sum((await far.ask("broker.stats"))["deliveries"].values()) == 0
        await far.ask("mail.send", to="owner", body=1)
        assert (await far.ask("broker.stats"))["deliveries"]["claimed"] == 1
        assert (await owner.ask("broker.stats"))["deliveries"] == expected
        assert (await far.ask("broker.stats"))["mailboxes"]["open"] == 1


async def test_what_ends_in_chunks_is_counted_all_the_same(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", session="s1", capacity=0)
        for _ in range(700):
            owner.post("mail.send", to="alice/s1", body=1)
        await r.settle()
        alice.post("bye", final=True)
        await one_batch(r)  # the mailbox is closed, a chunk of it may have ended
        asked = owner.post("broker.stats")
        await one_batch(r)
        while r.broker.executor.looks:  # noqa: ASYNC110 - a thread reads, there is no event
            await asyncio.sleep(0)
        counts = owner.reply(asked)["ok"]["deliveries"]
        assert counts["queued"] + counts["expired"] == 700
        assert counts["acked"] == 0
        await r.settle()
        assert (await owner.ask("broker.stats"))["deliveries"]["expired"] == 700


async def test_the_deepest_mailboxes(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")

        async def deepest() -> list[dict[str, Any]]:
            stats = await owner.ask("broker.stats")
            found: list[dict[str, Any]] = stats["mailboxes"]["deepest"]
            return found

        for number in range(12):
            await r.join(f"m{number:02}", session="s1", capacity=0)
            for _ in range(number):
                to = f"m{number:02}/s1"
                await owner.ask("mail.send", to=to, body=1, priority=number % 3)
            await r.advance(1_000)
        found = await deepest()
        assert [one["depth"] for one in found] == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
        assert found[0] == {"mailbox": "m11/s1", "depth": 11, "oldest_ms": 1_000}
        assert found[9] == {"mailbox": "m02/s1", "depth": 2, "oldest_ms": 10_000}


async def test_how_old_the_oldest_is(tmp_path: Path) -> None:
    """What is held counts as well as what waits; what was acked does not."""
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service", capacity=1)

        async def oldest() -> int | None:
            (found,) = (await owner.ask("broker.stats"))["mailboxes"]["deepest"]
            age: int | None = found["oldest_ms"]
            return age

        await owner.ask("mail.send", to="alice", body=1)
        await r.advance(1_000)
        await owner.ask("mail.send", to="alice", body=2)
        await r.advance(1_000)
        await owner.ask("mail.send", to="alice", body=3, priority="critical")
        assert await oldest() == 2_000
        for mail in alice.mail():
            await alice.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        assert await oldest() == 1_000
        await alice.lose()
        await r.restart()
        owner = await r.join("owner", role="service")
        assert await oldest() == 1_000


async def test_a_mailbox_in_which_all_wait_for_their_time(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await r.join("alice", role="service")
        await owner.ask("mail.send", to="alice", body=1, delay_ms=60_000)
        (found,) = (await owner.ask("broker.stats"))["mailboxes"]["deepest"]
        assert found == {"mailbox": "alice", "depth": 1, "oldest_ms": None}


async def test_dispatches_and_delegations_are_counted(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await r.join("alice", role="service")
        work = {"agent_type": "a", "dag_task_id": "t", "parent_session_id": "p", "prompt": "x"}
        await owner.ask("dispatch.create", **work)
        await owner.ask("delegation.open", callee="alice", task=1)
        stats = await owner.ask("broker.stats")
        assert stats["dispatches"] == NO_DISPATCHES | {"pending": 1}
        assert stats["delegations"] == NO_DELEGATIONS | {"queued": 1}


async def test_it_is_for_those_who_steer(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        await alice.refused("forbidden", "broker.stats")
