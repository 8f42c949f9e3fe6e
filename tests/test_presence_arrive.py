"""Hello: what it makes, what it refuses, whom it replaces."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from presence_watch import watching
from rig import START, rig


async def test_a_member_and_a_token_are_enough(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        label = alice.welcome["session"]
        assert label
        assert alice.welcome == {
            "presence": alice.welcome["presence"],
            "mesh": "default",
            "member": "alice",
            "address": f"alice/{label}",
            "session": label,
            "role": "session",
            "resumed": False,
            "resume": alice.welcome["resume"],
            "lease_ms": 90_000,
            "limits": {
                "body": 262_144,
                "frame": 1_048_576,
                "outbox": 4_194_304,
                "send_rate": 2_000,
            },
            "broker": {"version": alice.welcome["broker"]["version"], "node": r.broker.house.node},
            "now_at": START,
        }
        (peer,) = (await alice.ask("peer.list"))["peers"]
        assert peer["status"] == "idle"
        assert peer["capacity"] == 32
        assert peer["summary"] is None
        assert peer["connected_at"] == START


async def test_a_hello_says_who_one_is(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join(
            "alice",
            role="service",
            session="w1",
            status="working",
            summary="building",
            capacity=3,
            groups=["@team/a", "#news"],
            host="box1",
            client={"name": "robot", "version": "2"},
        )
        assert alice.welcome["address"] == "alice"
        assert alice.welcome["session"] == "w1"
        (peer,) = (await alice.ask("peer.list"))["peers"]
        assert peer == {
            "presence": alice.welcome["presence"],
            "member": "alice",
            "session": "w1",
            "address": "alice",
            "role": "service",
            "status": "working",
            "summary": "building",
            "groups": ["#news", "@team/a"],
            "transport": "online",
            "host": "box1",
            "client": {"name": "robot", "version": "2"},
            "capacity": 3,
            "in_flight": 0,
            "connected_at": START,
            "last_seen_at": START,
            "self": True,
        }


async def test_the_token_may_stand_in_the_header(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice")
        peer = r.connect(bearer=r.tokens["alice"])
        assert (await peer.ask("hello", member="alice"))["member"] == "alice"
        both = r.connect(bearer=r.tokens["owner"])
        assert await both.ask("hello", member="alice", token=r.tokens["alice"])


async def test_before_hello_nothing_is_taken_and_the_connection_stays(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = r.connect()
        await peer.refused("unauthorized", "peer.list")
        await peer.refused("unauthorized", "bye")
        assert peer.line.closed is None
        await peer.ask("hello", member="owner", token=r.tokens["owner"])


async def test_a_second_hello_is_a_bad_request(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        again = {"member": "alice", "token": r.tokens["alice"]}
        await alice.refused("bad_request", "hello", **again)
        await alice.refused("bad_request", "hello", **again, resume=alice.welcome["resume"])
        assert alice.line.closed is None
        assert [p["session"] for p in (await alice.ask("peer.list"))["peers"]] == ["s1"]


async def test_a_hello_behind_a_bye_makes_nobody(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        alice.post("bye")
        hello = alice.post("hello", member="alice", token=r.tokens["alice"], role="service")
        await r.settle()
        assert alice.reply(hello)["error"]["code"] == "bad_request"
        assert alice.line.closed == (1000, "bye")
        await alice.lose()
        assert r.rows("SELECT count(*) FROM presences") == [(0,)]


async def test_a_hello_from_a_connection_that_is_gone_makes_nobody(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        there = await r.join("alice", session="s1")
        peer = r.connect()
        peer.post("hello", member="alice", token=r.tokens["alice"], session="s1")
        peer.conversation.lost()
        await r.settle()
        assert there.line.closed is None
        assert len(r.broker.house.presences) == 1


async def test_a_refused_hello_leaves_nobody_and_may_be_said_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        peer = r.connect()
        said = {"member": "owner", "token": r.tokens["owner"], "session": "s1"}
        segments = "/".join(["x" * 64] * 7)
        await peer.refused(
            "too_large", "hello", **said, groups=[f"@{segments}/{n}" for n in range(80)]
        )
        assert watcher.events() == []
        assert r.rows("SELECT count(*) FROM mailboxes WHERE session IS NOT NULL") == [(0,)]
        assert r.broker.house.meshes["default"].groups == {}
        await peer.ask("hello", **said)
        assert [e["ev"] for e in watcher.events()] == ["peer.joined"]


@pytest.mark.parametrize("capacity", [-1, 10_001, "7", None])
async def test_a_capacity_out_of_bounds_is_named(tmp_path: Path, capacity: object) -> None:
    async with rig(tmp_path) as r:
        peer = r.connect()
        error = await peer.refused(
            "bad_request", "hello", member="owner", token=r.tokens["owner"], capacity=capacity
        )
        assert "capacity" in error["message"]
        assert peer.line.closed is None


async def test_the_same_label_replaces(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        first = await r.join("alice", session="s1")
        watcher.events()
        second = await r.join("alice", session="s1")
        assert first.line.closed == (4409, "replaced by another connection")
        assert second.welcome["resumed"] is False
        (event,) = watcher.events()
        assert event["ev"] == "peer.changed"
        assert event["peer"]["presence"] == second.welcome["presence"]
        assert event["replaced"] == first.welcome["presence"]
        peers = (await second.ask("peer.list", member="alice"))["peers"]
        assert [peer["presence"] for peer in peers] == [second.welcome["presence"]]


async def test_another_role_under_the_same_label_leaves_and_joins(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        first = await r.join("alice", session="s1")
        watcher.events()
        await r.join("alice", session="s1", role="service")
        assert first.line.closed is not None
        assert [(e["ev"], e["peer"]["role"]) for e in watcher.events()] == [
            ("peer.left", "session"),
            ("peer.joined", "service"),
        ]


async def test_the_claims_of_the_replaced_go_back_without_blame(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice", session="s1")
        owner = await r.join("owner", role="service")
        await owner.ask("mail.send", to="alice/s1", body=1)
        second = await r.join("alice", session="s1")
        (mail,) = second.mail()
        assert (mail["attempt"], mail["claims"]) == (1, 2)


async def test_one_who_is_away_is_replaced_too(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        first = await r.join("alice", session="s1")
        await first.lose()
        watcher.events()
        await r.join("alice", session="s1")
        assert [e["ev"] for e in watcher.events()] == ["peer.changed"]
        await r.advance(200_000)
        assert watcher.events() == []


async def test_without_a_label_nobody_is_replaced(tmp_path: Path) -> None:
    """Two hosts whose daemons are alike in everything, down to the name of the client."""
    async with rig(tmp_path) as r:
        client = {"name": "daemon-4711", "version": "1"}
        one = await r.join("alice", role="control-plane", host="box1", client=client)
        other = await r.join("alice", role="control-plane", host="box2", client=client)
        third = await r.join("alice", role="control-plane", host="box2", client=client)
        assert {one.line.closed, other.line.closed, third.line.closed} == {None}
        listed = await one.ask("peer.list", roles=["control-plane"])
        assert [peer["host"] for peer in listed["peers"]] == ["box1", "box2", "box2"]
        assert {peer["address"] for peer in listed["peers"]} == {"alice"}


async def test_another_member_with_the_same_label_replaces_nobody(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        bob = await r.join("bob", session="s1")
        assert alice.line.closed is None
        assert bob.welcome["address"] == "bob/s1"


async def test_an_observer_is_not_there(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        alice = await r.join("alice", session="s1")
        watcher.events()
        eye = await r.join("alice", session="s1", observe=True, role="session")
        assert alice.line.closed is None
        assert eye.welcome["session"] is None
        assert eye.welcome["address"] == "alice"
        far = await r.join("alice", observe=True, role="control-plane")
        listed = await eye.ask("peer.list")
        assert [peer["self"] for peer in listed["peers"]] == [False, False]
        assert listed["hidden"] == {}
        await alice.ask("mail.send", to="alice", body=1)
        await alice.ask("mail.send", to="*", body=1)
        assert eye.mail() == far.mail() == []
        await eye.ask("presence.update", status="dnd", summary="hidden", capacity=5)
        await eye.ask("group.join", group="@team")
        assert [e["peer"]["presence"] for e in watcher.events("peer.changed")] == []
        await far.ask("bye")
        await eye.lose()
        await r.advance(200_000)
        assert watcher.events() == []
        assert r.rows("SELECT count(*) FROM presences WHERE observe") == [(0,)]
        assert r.rows("SELECT session FROM mailboxes WHERE session IS NOT NULL") == [("s1",)]


async def test_hello_joins_groups_and_peers_see_it_at_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        one = await r.join("alice", role="service")
        watcher.events()
        two = await r.join("alice", role="service", groups=["@team"])
        events = [(e["ev"], e["peer"]["presence"], e["peer"]["groups"]) for e in watcher.events()]
        assert sorted(events) == [
            ("peer.changed", one.welcome["presence"], ["@team"]),
            ("peer.joined", two.welcome["presence"], ["@team"]),
        ]


async def test_a_label_of_the_broker_is_new(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        taken = "label3"
        await r.join("alice", session=taken, role="service")
        seen = {(await r.join("alice")).welcome["session"] for _ in range(4)}
        assert len(seen) == 4
        assert taken not in seen


async def test_an_array_may_begin_with_hello(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = r.connect()
        hello = {"op": "hello", "id": 1, "member": "owner", "token": r.tokens["owner"]}
        peer.write(msgspec.json.encode([hello, {"op": "peer.list", "id": 2}]))
        await r.settle()
        assert len(peer.reply(2)["ok"]["peers"]) == 1
