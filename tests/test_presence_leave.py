"""Leaving: bye, loss, the end of the lease, and what each leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from presence_watch import told, watching
from rig import START, Peer, rig

from broker.core import deadlines

SESSIONS = "SELECT session, closed_at IS NULL FROM mailboxes WHERE session IS NOT NULL"


async def test_bye_is_answered_then_closed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        alice = await r.join("alice", role="service")
        watcher.events()
        assert await alice.ask("bye") == {}
        assert alice.line.closed == (1000, "bye")
        assert told(watcher) == [("peer.left", alice.welcome["presence"])]
        await alice.lose()
        await r.advance(200_000)
        assert told(watcher) == []
        assert (await watcher.ask("peer.list", member="alice"))["peers"] == []


async def test_after_bye_nothing_is_taken(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        alice.post("bye")
        late = alice.post("mail.send", to="owner", body=1)
        await r.settle()
        assert alice.reply(late)["error"]["code"] == "unauthorized"
        assert r.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_a_bye_right_before_the_end_of_the_socket_counts(tmp_path: Path) -> None:
    """What was read before the loss is done first, however much it is."""
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        frames: list[dict[str, Any]] = [
            {"op": "mail.send", "to": "owner", "body": number} for number in range(40)
        ]
        alice.write(msgspec.json.encode([*frames, {"op": "bye"}]))
        alice.conversation.lost()
        await r.settle()
        assert [mail["body"] for mail in owner.mail()] == list(range(32))
        assert r.rows("SELECT count(*) FROM messages") == [(40,)]
        assert "alice" not in {p.member.name for p in r.broker.house.presences.values()}


async def test_nothing_is_handed_to_a_connection_that_is_gone(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        alice.post("presence.update", status="idle")
        owner.post("mail.send", to="alice", body=1)
        alice.conversation.lost()
        await r.settle()
        assert r.rows("SELECT state FROM deliveries") == [("queued",)]


async def test_nothing_is_handed_to_a_connection_that_is_being_closed(tmp_path: Path) -> None:
    """Its presence is there until the socket is gone, and keeps its claims, but gets no more."""
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        alice.conversation.received(b"binary", binary=True)
        assert alice.line.closed is not None
        alice.conversation.writable()
        await owner.ask("mail.send", to="alice", body=1)
        assert r.rows("SELECT state FROM deliveries") == [("queued",)]
        await alice.lose()
        back = await r.join("alice", role="service", resume=alice.welcome["resume"])
        assert len(back.mail()) == 1


async def test_what_is_held_goes_back_with_bye(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        await owner.ask("mail.send", to="alice", body=1)
        assert len(alice.mail()) == 1
        other = await r.join("alice", role="service", capacity=0)
        await alice.ask("bye")
        await other.ask("presence.update", capacity=1)
        (mail,) = other.mail()
        assert (mail["attempt"], mail["claims"]) == (1, 2)


async def test_a_lost_one_keeps_its_claims_for_their_leases(tmp_path: Path) -> None:
    async with rig(tmp_path, presence__lease_ms=5_000) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        await owner.ask("mail.send", to="alice", body=1)
        await alice.lose()
        other = await r.join("alice", role="service")
        await r.advance(5_000)
        assert len((await owner.ask("peer.list", member="alice"))["peers"]) == 1
        assert other.mail() == []
        await r.advance(25_000)
        assert other.mail() == []
        await r.advance(5_000)
        (mail,) = other.mail()
        assert (mail["attempt"], mail["claims"]) == (2, 2)


async def test_an_ack_after_the_lease_of_the_presence_is_taken(tmp_path: Path) -> None:
    async with rig(tmp_path, presence__lease_ms=5_000) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        await owner.ask("mail.send", to="alice", body=1)
        (mail,) = alice.mail()
        await alice.lose()
        await r.advance(6_000)
        other = await r.join("alice", role="service")
        acked = await other.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        assert acked["state"] == "acked"


async def test_last_seen_is_when_something_came(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        alice = await r.join("alice", role="service")
        await r.advance(10_000)
        alice.conversation.alive()
        await r.advance(20_000)
        (peer,) = (await watcher.ask("peer.list", member="alice"))["peers"]
        assert peer["last_seen_at"] == START + 10_000
        await alice.lose()
        assert watcher.events()[-1]["peer"]["last_seen_at"] == START + 10_000
        assert r.rows("SELECT last_seen_at FROM presences WHERE role = 'service'")[-1] == (
            START + 10_000,
        )


@pytest.mark.parametrize("way", ["bye", "lease", "replaced", "revoked", "restart"])
async def test_a_mailbox_under_the_brokers_label_closes_however_one_leaves(
    tmp_path: Path, way: str
) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        await leave(alice, way)
        owner = await r.join("owner", role="service")
        await owner.refused("unknown_recipient", "mail.send", to=alice.welcome["address"], body=1)
        assert r.rows(SESSIONS) == []


async def leave(peer: Peer, way: str) -> None:
    """Leave in one of the ways in which a presence may leave."""
    r = peer.rig
    if way == "bye":
        await peer.ask("bye")
    elif way == "lease":
        await peer.lose()
        await r.advance(90_000)
    elif way == "replaced":
        label = peer.welcome["session"]
        await (await r.join("alice", session=label, role="service")).ask("bye")
    elif way == "revoked":
        await (await r.join("owner", observe=True)).ask("member.remove", member="alice")
    else:
        await r.restart()
        await r.advance(90_000)


@pytest.mark.parametrize("way", ["bye", "lease", "replaced", "restart"])
async def test_a_mailbox_under_a_chosen_label_stays(tmp_path: Path, way: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        await leave(alice, way)
        owner = await r.join("owner", role="service")
        await owner.ask("mail.send", to="alice/s1", body=1)
        back = await r.join("alice", session="s1")
        assert [mail["body"] for mail in back.mail()] == [1]


async def test_a_final_bye_closes_the_mailbox(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", session="s1", capacity=0)
        await alice.ask("group.join", group="@team")
        sent = await owner.ask("mail.send", to=["alice/s1", "alice"], body=1)
        await alice.ask("bye", final=True)
        trace = await owner.ask("mail.trace", message=sent["message"])
        ends = [(d["mailbox"], d["state"], d["history"][-1]) for d in trace["deliveries"]]
        assert [end[:2] for end in ends] == [("alice/s1", "expired"), ("alice", "queued")]
        assert ends[0][2]["reason"] == "session_closed"
        await owner.refused("unknown_recipient", "mail.send", to="alice/s1", body=1)
        assert (await owner.ask("mail.send", to="@team", body=1))["total"] == 0
        again = await r.join("alice", session="s1")
        assert [mail["mailbox"] for mail in again.mail()] == ["alice"]
        assert (await again.ask("group.list"))["groups"] == []


async def test_a_final_bye_of_the_other_roles_closes_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        for hello in ({"role": "service", "session": "s1"}, {"observe": True}):
            alice = await r.join("alice", **hello)
            await alice.ask("bye", final=True)
        assert (await owner.ask("mail.send", to="alice", body=1))["total"] == 1


async def test_many_leases_end_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "CHUNK", 10)
    async with rig(tmp_path) as r:
        peers = [await r.join("alice", role="service") for _ in range(25)]
        for peer in peers:
            peer.conversation.lost()
        await r.settle()
        before = r.broker.executor.batches
        await r.advance(90_000)
        assert r.broker.house.presences == {}
        assert r.broker.executor.batches - before >= 3
        assert r.rows("SELECT count(*) FROM presences") == [(0,)]


async def test_nothing_is_handed_to_who_has_said_bye(tmp_path: Path) -> None:
    """What was claimed for it in the batch of its bye is back in the queue."""
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        owner.post("mail.send", to="alice", body=1)
        alice.post("bye")
        await r.settle()
        assert alice.line.closed == (1000, "bye")
        assert alice.mail() == []
        (one,) = (await owner.ask("mail.list", mailbox="alice"))["deliveries"]
        assert (one["state"], one["failures"]) == ("queued", 0)
        again = await r.join("alice", role="service")
        assert [mail["body"] for mail in again.mail()] == [1]
