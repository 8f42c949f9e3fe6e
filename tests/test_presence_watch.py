"""The watch: how it begins, what it tells while it does, and where it ends."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broken_disk import BrokenDisk
from presence_watch import one_batch, told, watching
from rig import Peer, Rig, rig

from broker.areas.presence import watch

CHUNK = 10


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CHUNK", CHUNK)


async def test_a_watch_begins_with_everybody(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        bob = await r.join("bob", role="control-plane")
        carol = await r.join("carol", role="service")
        await carol.lose()
        await r.join("carol", observe=True)
        watch = alice.post("peer.watch", on=True)
        await r.settle()
        answer, *events = alice.line.frames[-4:]
        assert answer == {"re": watch, "ok": {}}
        assert [(e["ev"], e["peer"]["presence"], e["peer"]["transport"]) for e in events[:2]] == [
            ("peer.joined", bob.welcome["presence"], "online"),
            ("peer.joined", carol.welcome["presence"], "away"),
        ]
        assert events[2] == {"ev": "peer.synced"}


async def test_one_event_for_each_change(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        alice = await r.join("alice", session="s1")
        name = alice.welcome["presence"]
        assert told(watcher) == [("peer.joined", name)]
        for change in (
            {"status": "working"},
            {"summary": "thinking", "capacity": 2},
            {"summary": None},
        ):
            await alice.ask("presence.update", **change)
            assert told(watcher) == [("peer.changed", name)]
        same: list[dict[str, Any]] = [{}, {"summary": None}, {"status": "working"}, {"capacity": 2}]
        for nothing in same:
            await alice.ask("presence.update", **nothing)
            assert told(watcher) == []
        await watcher.ask("mail.send", to="alice/s1", body=1)
        (mail,) = alice.mail()
        await alice.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        assert told(watcher) == []
        await alice.ask("bye")
        assert told(watcher) == [("peer.left", name)]


async def test_ones_own_changes_are_not_told(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        await watcher.ask("presence.update", status="dnd")
        await watcher.ask("group.join", group="@team")
        assert watcher.events() == []


async def test_only_the_roles_that_one_asked_for(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r, roles=["service"])
        await r.join("alice", session="s1")
        await r.join("bob", role="control-plane")
        assert watcher.events() == []
        await r.join("alice", session="s1", role="service")
        assert [e["ev"] for e in watcher.events()] == ["peer.joined"]
        await watcher.ask("peer.watch", on=True, roles=["control-plane"])
        assert [e["peer"]["member"] for e in watcher.events("peer.joined")] == ["bob"]


async def test_a_watch_ends_when_it_is_told_to_and_with_its_connection(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        assert await watcher.ask("peer.watch", on=False) == {}
        await r.join("alice", session="s1")
        assert watcher.events() == []
        await watcher.ask("peer.watch", on=True)
        await watcher.lose()
        back = await r.join("owner", role="service", resume=watcher.welcome["resume"], capacity=0)
        await r.join("alice", session="s2")
        assert back.events() == []
        assert r.broker.house.meshes["default"].watchers == {}


async def test_an_observer_may_watch(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        eye = await r.join("owner", observe=True)
        await eye.ask("peer.watch", on=True)
        alice = await r.join("alice", role="service")
        assert eye.events("peer.joined")[-1]["peer"]["presence"] == alice.welcome["presence"]


async def test_an_event_of_a_batch_tells_that_batch(tmp_path: Path) -> None:
    """Two changes in one batch are two events, each as it was then."""
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        alice = await r.join("alice", role="service")
        watcher.events()
        updates = [{"op": "presence.update", "status": status} for status in ("dnd", "idle")]
        alice.write(msgspec.json.encode(updates))
        await r.settle()
        assert [e["peer"]["status"] for e in watcher.events()] == ["dnd", "idle"]


async def test_a_change_that_fails_is_not_told(tmp_path: Path) -> None:
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        watcher = await watching(r)
        alice = await r.join("alice", role="service")
        watcher.events()
        disk.full = True
        await alice.refused("unavailable", "presence.update", status="dnd")
        await alice.lose()
        assert watcher.events() == []
        disk.full = False
        await r.advance(1_000)
        (event,) = watcher.events()
        assert (event["peer"]["status"], event["peer"]["transport"]) == ("idle", "away")


async def test_of_many_requests_at_once_the_last_counts(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice", role="service")
        watcher = await r.join("owner", observe=True)
        watches = [{"op": "peer.watch", "on": True, "roles": ["session"]}] * 50
        watcher.write(msgspec.json.encode([*watches, {"op": "peer.watch", "on": True}]))
        await r.settle()
        assert [e["ev"] for e in watcher.events()] == ["peer.joined", "peer.synced"]


async def crowd(r: Rig, count: int) -> list[Peer]:
    """So many services of one member."""
    return [await r.join("alice", role="service") for _ in range(count)]


async def test_a_crowd_is_told_a_piece_at_a_time(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peers = await crowd(r, 2 * CHUNK + 10)
        watcher = await r.join("owner", observe=True)
        before = r.broker.executor.batches
        await watcher.ask("peer.watch", on=True)
        assert r.broker.executor.batches - before >= 4
        *joined, synced = watcher.events()
        assert synced["ev"] == "peer.synced"
        names = [event["peer"]["presence"] for event in joined]
        assert names == [peer.welcome["presence"] for peer in peers]


async def test_what_happens_meanwhile_is_told_once(tmp_path: Path) -> None:
    """Who was told of changes, in an event; the others are told of as they are by then."""
    async with rig(tmp_path) as r:
        peers = await crowd(r, 3 * CHUNK)
        early, late, gone = peers[0], peers[-1], peers[-2]
        label = await r.join("alice", role="service", session="s1")
        watcher = await r.join("owner", observe=True)
        watcher.post("peer.watch", on=True)
        await one_batch(r)
        await one_batch(r)
        assert len(watcher.events("peer.joined")) == CHUNK
        early.post("presence.update", status="dnd")
        late.post("presence.update", status="dnd")
        gone.post("bye")
        new = r.connect()
        new.post("hello", member="alice", token=r.tokens["alice"], role="service", session="s1")
        await one_batch(r)
        events = watcher.events()
        await r.settle()
        events += watcher.events()
        assert label.line.closed is not None
        of: dict[str, list[Any]] = {}
        for event in events:
            peer = event.get("peer", {"presence": "synced", "status": None})
            of.setdefault(peer["presence"], []).append((event["ev"], peer["status"]))
        names = [peer.line.frames[0]["ok"]["presence"] for peer in (early, late, gone, label, new)]
        assert [of.get(name) for name in names] == [
            [("peer.changed", "dnd")],
            [("peer.joined", "dnd")],
            None,
            None,
            [("peer.joined", "idle")],
        ]
        assert events[-1] == {"ev": "peer.synced"}


async def test_a_watch_that_is_called_off_while_it_begins(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await crowd(r, 2 * CHUNK)
        watcher = await r.join("owner", observe=True)
        watcher.post("peer.watch", on=True)
        await one_batch(r)
        await one_batch(r)
        await watcher.ask("peer.watch", on=False)
        watcher.events()
        await r.settle()
        assert watcher.events("peer.synced") == []


async def test_a_fault_while_it_begins_costs_nobody(tmp_path: Path) -> None:
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        peers = await crowd(r, 3 * CHUNK)
        watcher = await r.join("owner", observe=True)
        watcher.post("peer.watch", on=True)
        await one_batch(r)
        await one_batch(r)
        disk.full = True
        peers[0].post("presence.update", status="dnd")
        await r.settle()
        disk.full = False
        await r.advance(2_000)
        events = watcher.events()
        names = [event["peer"]["presence"] for event in events if event["ev"] == "peer.joined"]
        assert names == [peer.welcome["presence"] for peer in peers]
        assert [event["ev"] for event in events if event["ev"] != "peer.joined"] == ["peer.synced"]


@pytest.mark.parametrize("seed", range(5))
async def test_who_follows_the_events_knows_the_list(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - an order of steps, no secret
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        known: dict[str, dict[str, Any]] = {}
        peers: list[Peer] = []
        for _ in range(50):
            await step(chance, watcher, peers)
            for event in watcher.events():
                peer = event["peer"]
                name = peer["presence"]
                new = event["ev"] == "peer.joined" or "replaced" in event
                assert (name in known) != new
                known.pop(event.get("replaced", name), None)
                if event["ev"] != "peer.left":
                    known[name] = peer
            everybody = ["session", "service", "control-plane"]
            there = (await watcher.ask("peer.list", roles=everybody))["peers"]
            for peer in (*there, *known.values()):
                peer["last_seen_at"] = peer["in_flight"] = None
            assert known == {peer["presence"]: peer for peer in there if not peer["self"]}


async def step(chance: random.Random, watcher: Peer, peers: list[Peer]) -> None:
    """Something happens to somebody."""
    r = watcher.rig
    peer = chance.choice(peers) if peers else None
    what = chance.choice(["join", "join", "lose", "bye", "resume", "update", "group", "wait"])
    if peer is None or what == "join":
        role = chance.choice(["session", "service", "control-plane"])
        label = chance.choice([None, "s1", "s2"])
        observe = chance.random() < 0.2
        peers.append(await r.join("alice", role=role, session=label, observe=observe))
    elif what == "resume":
        again = {name: peer.welcome[name] for name in ("role", "resume")}
        peers.append(await r.join("alice", **again))
    elif what == "wait":
        await r.advance(40_000)
    elif peer.line.closed is None:
        if what == "lose":
            peer.line.closed = (1006, "lost")
            await peer.lose()
        elif what == "bye":
            await peer.ask("bye", final=chance.random() < 0.5)
        elif what == "update":
            await peer.ask("presence.update", status=chance.choice(["idle", "dnd", "working"]))
        else:
            await peer.ask("group.join", group=chance.choice(["@a", "@b", "#c"]))
