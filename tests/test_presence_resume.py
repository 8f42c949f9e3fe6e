"""Resuming: what a value is bound to, how long it is good, and what others see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from presence_watch import told, watching
from rig import START, Peer, Rig, rig


async def again(r: Rig, value: str | None, **hello: Any) -> Peer:
    """Alice's service connects with a resume value."""
    hello.setdefault("role", "service")
    return await r.join("alice", resume=value, **hello)


async def test_a_lost_presence_is_taken_up_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        first = await again(r, None, status="working", summary="at it", capacity=7, host="box1")
        name = first.welcome["presence"]
        watcher.events()
        await first.lose()
        (event,) = watcher.events()
        assert (event["ev"], event["peer"]["transport"]) == ("peer.changed", "away")
        await r.advance(89_999)
        second = await again(r, first.welcome["resume"])
        assert second.welcome["resumed"] is True
        assert second.welcome["presence"] == name
        assert second.welcome["resume"] != first.welcome["resume"]
        (event,) = watcher.events()
        assert event["ev"] == "peer.changed"
        peer = event["peer"]
        assert (peer["presence"], peer["transport"]) == (name, "online")
        assert (peer["status"], peer["summary"]) == ("working", "at it")
        assert (peer["capacity"], peer["host"]) == (7, "box1")
        assert (peer["connected_at"], peer["last_seen_at"]) == (START, START + 89_999)
        await r.advance(300_000)
        assert watcher.events() == []


async def test_what_the_hello_says_is_changed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None, summary="old", groups=["@a"])
        await first.lose()
        watcher = await watching(r)
        await again(r, first.welcome["resume"], summary=None, status="dnd", groups=["@b"])
        (event,) = watcher.events()
        assert event["peer"]["summary"] is None
        assert event["peer"]["status"] == "dnd"
        assert event["peer"]["groups"] == ["@a", "@b"]


async def test_what_it_held_is_pushed_again_and_nothing_is_counted(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        first = await again(r, None)
        await owner.ask("mail.send", to="alice", body=1)
        (mail,) = first.mail()
        await first.lose()
        second = await again(r, first.welcome["resume"])
        (same,) = second.mail()
        for name in ("delivery", "claim", "attempt", "claims", "body"):
            assert same[name] == mail[name]
        acked = await second.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        assert acked["state"] == "acked"


async def test_a_lost_reply_costs_nothing(tmp_path: Path) -> None:
    """Three hellos whose answers nobody got: the value before each of them is still good."""
    async with rig(tmp_path) as r:
        value = (first := await again(r, None)).welcome["resume"]
        await first.lose()
        for _ in range(3):
            peer = await again(r, value)
            assert peer.welcome["resumed"] is True
            await peer.lose()


async def test_a_further_frame_spends_the_value_before(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        await first.lose()
        second = await again(r, first.welcome["resume"])
        second.write(b'{"op": "no such thing"}')
        await r.settle()
        await second.lose()
        third = await again(r, first.welcome["resume"])
        assert third.welcome["resumed"] is False
        fourth = await again(r, second.welcome["resume"])
        assert fourth.welcome["resumed"] is True
        assert r.rows("SELECT previous_sha256 IS NULL FROM presences ORDER BY id") == [(0,), (1,)]


async def test_a_frame_right_behind_the_hello_spends_it_too(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        await first.lose()
        second = r.connect()
        hello = {"op": "hello", "id": 1, "member": "alice", "token": r.tokens["alice"]}
        hello |= {"role": "service", "resume": first.welcome["resume"]}
        second.write(msgspec.json.encode([hello, {"op": "presence.update"}]))
        await r.settle()
        assert second.reply(1)["ok"]["resumed"] is True
        await second.lose()
        assert (await again(r, first.welcome["resume"])).welcome["resumed"] is False


async def test_the_newest_value_is_good_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        await first.lose()
        second = await again(r, first.welcome["resume"])
        await second.lose()
        third = await again(r, second.welcome["resume"])
        assert third.welcome["resumed"] is True
        await third.lose()
        assert (await again(r, first.welcome["resume"])).welcome["resumed"] is False
        assert (await again(r, second.welcome["resume"])).welcome["resumed"] is True


@pytest.mark.parametrize(
    "value", ["", ".", "1", "1.", "x.y", "²3.secret", "9" * 400 + ".x", "-1.secret1", "p1.secret"]
)
async def test_a_wrong_value_gives_a_normal_hello(tmp_path: Path, value: str) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        await first.lose()
        other = await again(r, value)
        assert other.welcome["resumed"] is False
        assert (await again(r, first.welcome["resume"])).welcome["resumed"] is True


async def test_a_wrong_secret_spends_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        value = first.welcome["resume"]
        assert (await again(r, value + "x")).welcome["resumed"] is False
        assert first.line.closed is None
        await first.lose()
        assert (await again(r, value)).welcome["resumed"] is True


async def test_a_value_is_bound_to_its_member(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        value = first.welcome["resume"]
        bob = await r.join("bob", role="service", resume=value)
        assert bob.welcome["resumed"] is False
        assert first.line.closed is None


async def test_a_value_is_bound_to_its_token(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        token = (await first.ask("token.create"))["token"]
        value = first.welcome["resume"]
        assert (await again(r, value, token=token)).welcome["resumed"] is False
        assert (await again(r, value)).welcome["resumed"] is True


async def test_a_value_is_bound_to_its_session(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await r.join("alice", session="s1")
        value = first.welcome["resume"]
        other = await r.join("alice", session="s2", resume=value)
        assert other.welcome["resumed"] is False
        assert first.line.closed is None
        assert (await r.join("alice", session="s1", resume=value)).welcome["resumed"] is True
        assert first.line.closed == (4409, "resumed by another connection")


async def test_another_role_is_another_presence(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        value = first.welcome["resume"]
        assert (await again(r, value, role="control-plane")).welcome["resumed"] is False
        assert (await again(r, value, observe=True)).welcome["resumed"] is False
        assert (await again(r, value)).welcome["resumed"] is True


async def test_too_late_is_a_new_presence(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        first = await again(r, None)
        await first.lose()
        watcher.events()
        await r.advance(90_000)
        assert told(watcher) == [("peer.left", first.welcome["presence"])]
        second = await again(r, first.welcome["resume"])
        assert second.welcome["resumed"] is False
        assert told(watcher) == [("peer.joined", second.welcome["presence"])]


async def test_the_lease_begins_anew_with_each_loss(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        await first.lose()
        await r.advance(80_000)
        second = await again(r, first.welcome["resume"])
        await second.lose()
        await r.advance(80_000)
        assert (await again(r, second.welcome["resume"])).welcome["resumed"] is True


async def test_a_connection_that_still_looks_open_is_closed(tmp_path: Path) -> None:
    """Nothing that peers see has changed, so they are told nothing."""
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        first = await again(r, None)
        watcher.events()
        second = await again(r, first.welcome["resume"])
        assert second.welcome["resumed"] is True
        assert first.line.closed == (4409, "resumed by another connection")
        assert watcher.events() == []
        await first.lose()
        assert watcher.events() == []
        (peer,) = (await second.ask("peer.list", member="alice"))["peers"]
        assert peer["transport"] == "online"


async def test_the_watch_and_the_wait_of_the_old_connection_end_with_it(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None, capacity=0)
        await first.ask("peer.watch", on=True)
        waiting = first.post("mail.claim", wait_ms=60_000)
        await r.settle()
        first.events()
        second = await again(r, first.welcome["resume"])
        assert first.reply(waiting) == {"re": waiting, "ok": {"deliveries": []}}
        await r.join("bob")
        assert first.events() == second.events() == []
        waiting = second.post("mail.claim", wait_ms=60_000)
        await r.settle()
        bob = await r.join("bob")
        await bob.ask("mail.send", to="alice", body=1)
        assert len(second.reply(waiting)["ok"]["deliveries"]) == 1


async def test_a_label_that_was_sent_back_is_chosen(tmp_path: Path) -> None:
    """Its mailbox outlives the presence, whether it came back by a resume value or without."""
    async with rig(tmp_path) as r:
        for with_value in (True, False):
            first = await r.join("alice")
            label = first.welcome["session"]
            await first.lose()
            value = first.welcome["resume"] if with_value else None
            second = await r.join("alice", session=label, resume=value)
            assert second.welcome["resumed"] is with_value
            await second.ask("bye")
            owner = await r.join("owner", observe=True)
            sent = await owner.ask("mail.send", to=f"alice/{label}", body=1)
            assert sent["deliveries"][0]["transport"] == "offline"
        await r.restart()
        assert {box.chosen for box in r.broker.house.boxes.values()} == {True}


async def test_a_value_without_the_label_keeps_the_label(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await r.join("alice")
        await first.lose()
        second = await r.join("alice", resume=first.welcome["resume"])
        assert second.welcome["resumed"] is True
        assert second.welcome["session"] == first.welcome["session"]
        await second.ask("bye")
        assert r.rows("SELECT count(*) FROM mailboxes WHERE session IS NOT NULL") == [(0,)]


async def test_values_survive_a_restart_with_their_grace(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        await first.lose()
        second = await again(r, first.welcome["resume"])
        await r.restart()
        third = await again(r, first.welcome["resume"])
        assert third.welcome["resumed"] is True
        assert third.welcome["presence"] == first.welcome["presence"]
        third.write(b"{}")
        await r.settle()
        await r.restart()
        assert (await again(r, first.welcome["resume"])).welcome["resumed"] is False
        assert (await again(r, second.welcome["resume"])).welcome["resumed"] is False
        assert (await again(r, third.welcome["resume"])).welcome["resumed"] is True


async def test_the_row_says_which_node_in_which_life(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await again(r, None)
        node = r.broker.house.node
        assert r.rows("SELECT node, incarnation FROM presences") == [(node, 1)]
        await r.restart()
        assert r.rows("SELECT node, incarnation FROM presences") == [(node, 1)]
        await again(r, first.welcome["resume"])
        assert r.rows("SELECT node, incarnation FROM presences") == [(node, 2)]
