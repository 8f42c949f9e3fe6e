"""The list of peers and the watch on it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from presence_watch import told, watching
from rig import Peer, rig


async def listed(peer: Peer, **request: Any) -> list[str]:
    """Who is listed, by address and role."""
    answer = await peer.ask("peer.list", **request)
    return [f"{one['address']} {one['role']}" for one in answer["peers"]]


async def test_control_planes_are_hidden_and_counted(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        await r.join("bob", role="service")
        await r.join("bob", role="control-plane")
        await r.join("alice", role="control-plane")
        answer = await alice.ask("peer.list")
        assert answer["hidden"] == {"control-plane": 2}
        assert answer["next"] is None
        assert await listed(alice) == ["alice/s1 session", "bob service"]
        assert (await alice.ask("peer.list", roles=["service"]))["hidden"] == {}
        assert await listed(alice, roles=["control-plane", "service"]) == [
            "bob service",
            "bob control-plane",
            "alice control-plane",
        ]
        assert await listed(alice, roles=[]) == []


async def test_the_filters(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1", groups=["@team/a"])
        await r.join("bob", role="service", groups=["@team", "#news"])
        await r.join("bob", role="control-plane")
        await r.join("carol", role="control-plane", groups=["@teams"])
        assert await listed(alice, member="bob") == ["bob service"]
        assert (await alice.ask("peer.list", member="bob"))["hidden"] == {"control-plane": 1}
        assert await listed(alice, member="nobody") == []
        assert await listed(alice, group="@team") == ["alice/s1 session", "bob service"]
        assert await listed(alice, group="@team/a") == ["alice/s1 session"]
        assert await listed(alice, group="#news") == ["bob service"]
        # With the member's mailbox all its presences but sessions are in its groups.
        assert (await alice.ask("peer.list", group="#news"))["hidden"] == {"control-plane": 1}
        assert await listed(alice, group="@tea") == []
        both = {"group": "@teams", "roles": ["control-plane"]}
        assert await listed(alice, **both) == ["carol control-plane"]


async def test_one_sees_oneself_and_those_who_are_away(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        bob = await r.join("bob", role="service")
        await alice.ask("mail.send", to="bob", body=1)
        await bob.lose()
        one, other = (await alice.ask("peer.list"))["peers"]
        assert (one["self"], one["transport"], one["in_flight"]) == (True, "online", 0)
        assert (other["self"], other["transport"], other["in_flight"]) == (False, "away", 1)


async def test_nobody_of_another_mesh_is_there(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", token=made["token"], mesh="far", role="service")
        await far.ask("peer.watch", on=True)
        assert [e["ev"] for e in far.events()] == ["peer.synced"]
        await r.join("alice", session="s1")
        assert far.events() == []
        assert await listed(far) == ["owner service"]


async def test_the_list_comes_in_pages(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peers = [await r.join("alice", session=f"s{n}") for n in range(5)]
        first = await peers[0].ask("peer.list", limit=2)
        await peers[1].ask("bye")
        second = await peers[0].ask("peer.list", limit=2, after=first["next"])
        third = await peers[0].ask("peer.list", limit=2, after=second["next"])
        pages = [[one["session"] for one in page["peers"]] for page in (first, second, third)]
        assert pages == [["s0", "s1"], ["s2", "s3"], ["s4"]]
        assert third["next"] is None


@pytest.mark.parametrize(
    "after", ["", "x", "peer:", "peer:x", "peer:-1", "peer:" + "9" * 40, "peer:\u00b2", "group:@a"]
)
async def test_a_broken_cursor_is_a_bad_request(tmp_path: Path, after: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        error = await alice.refused("bad_request", "peer.list", after=after)
        assert "after" in error["message"]


async def test_a_page_fits_a_frame(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__body=1_024, limits__frame=70_000) as r:
        for number in range(12):
            await r.join("alice", session=f"s{number}", summary="\x01" * 4_096)
        owner = await r.join("owner", role="service")
        found: list[str] = []
        after = None
        while True:
            page = await owner.ask("peer.list", after=after)
            found += [one["address"] for one in page["peers"]]
            after = page["next"]
            if after is None:
                break
        assert len(found) == 13
        assert max(len(raw) for raw in owner.line.raw) <= 70_000


async def test_a_watch_begins_with_everybody(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        bob = await r.join("bob", role="control-plane")
        carol = await r.join("carol", role="service")
        await carol.lose()
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
        for same in ({}, {"summary": None}, {"status": "working"}, {"capacity": 2}):
            await alice.ask("presence.update", **same)
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
                assert (name in known) == (event["ev"] != "peer.joined" and "replaced" not in event)
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
