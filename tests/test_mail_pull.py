"""Pulling: whose mailbox, how many, how long it waits, and what ends the wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mail_desk import bodies, desk, held, send, take
from rig import Peer

from broker.core import house as house_module


async def pull(peer: Peer, **fields: Any) -> list[Any]:
    """The bodies of what a claim gets."""
    return bodies((await peer.ask("mail.claim", **fields))["deliveries"])


async def test_a_claim_gets_one_and_as_many_as_it_asks_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *range(120))
        assert await pull(bob) == [0]
        assert await pull(bob, max=3) == [1, 2, 3]
        assert await pull(bob, max=100) == list(range(4, 104))
        for most in (0, 101, -1):
            error = await bob.refused("bad_request", "mail.claim", max=most)
            assert "max" in error["message"]
        assert await pull(bob, max=100) == list(range(104, 120))
        assert await pull(bob) == []


async def test_what_is_pulled_is_told_like_what_is_pushed(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        bob = await r.join("bob", role="service", capacity=0, groups=["@team"])
        (asked,) = await send(bob, "ann/s1", "question")
        (sent,) = await send(
            ann, ["@team"], {"a": 1}, kind="answer", meta={"m": 1}, reply_to=asked["message"]
        )
        await r.advance(5)
        (mail,) = (await bob.ask("mail.claim", lease_ms=2_000))["deliveries"]
        assert mail == {
            "delivery": sent["deliveries"][0]["delivery"],
            "claim": mail["claim"],
            "message": sent["message"],
            "seq": int(sent["deliveries"][0]["delivery"][1:]),
            "from": "ann/s1",
            "to": "@team",
            "mailbox": "bob",
            "kind": "answer",
            "priority": 50,
            "body": {"a": 1},
            "meta": {"m": 1},
            "reply_to": asked["message"],
            "sent_at": r.clock.now() - 5,
            "attempt": 1,
            "claims": 1,
            "max_attempts": 5,
            "lease_ms": 2_000,
            "claim_expires_at": r.clock.now() + 2_000,
            "preempt": False,
        }
        await bob.ask("mail.nack", **held(mail), delay_ms=0)
        bob.post("presence.update", capacity=1)
        await r.settle()
        pushed = await take(bob)
        differ = {"claim", "claims", "attempt", "lease_ms", "claim_expires_at"}
        assert {k: v for k, v in pushed.items() if k not in differ | {"ev"}} == {
            k: v for k, v in mail.items() if k not in differ
        }


async def test_the_default_is_the_members_mailbox_and_a_sessions_own(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        session = await r.join("bob", session="s1", capacity=0)
        other = await r.join("bob", session="s2", capacity=0)
        eye = await r.join("bob", observe=True)
        await send(ann, ["bob", "bob/s1", "bob/s2"], 1)
        assert await pull(other, max=5, mailbox="bob/s2") == [1]
        got = (await session.ask("mail.claim", max=5))["deliveries"]
        assert [one["mailbox"] for one in got] == ["bob/s1", "bob"]
        await send(ann, ["bob", "bob/s1", "bob/s2"], 2)
        assert [one["mailbox"] for one in (await eye.ask("mail.claim", max=5))["deliveries"]] == [
            "bob"
        ]


async def test_who_may_pull_from_which_mailbox(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        session = await r.join("bob", session="s1", capacity=0)
        await r.join("bob", session="s2", capacity=0)
        service = await r.join("bob", role="service", capacity=0)
        eye = await r.join("bob", observe=True)
        owner = await r.join("owner", observe=True)
        await send(ann, ["bob", "bob/s1", "bob/s2"], *range(4))
        for peer, mailbox in (
            (session, "bob"),
            (session, "bob/s1"),
            (service, "bob"),
            (eye, "bob"),
            (eye, "bob/s1"),
            (eye, "bob/s2"),
        ):
            assert len(await pull(peer, mailbox=mailbox)) == 1
        for peer, mailbox in (
            (session, "bob/s2"),
            (service, "bob/s1"),
            (ann, "bob"),
            (owner, "bob"),
        ):
            await peer.refused("forbidden", "mail.claim", mailbox=mailbox)
        for mailbox in ("nobody", "bob/s9"):
            await eye.refused("not_found", "mail.claim", mailbox=mailbox)
        await eye.refused("bad_request", "mail.claim", mailbox="@team")


async def test_it_obeys_status_and_ignores_capacity_and_roles(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="control-plane", capacity=1)
        service = await r.join("bob", role="service", capacity=1, status="working")
        await send(ann, "bob", "full", "a", "b", "c")
        await send(ann, "bob", "news", priority="info")
        assert await pull(service, max=10) == ["a", "b", "c"]
        await service.ask("presence.update", status="idle")
        assert await pull(service, max=10) == ["news"]


async def test_what_is_pulled_counts_as_held(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", 1, 2, 3)
        mail = (await bob.ask("mail.claim", max=2))["deliveries"]
        await bob.ask("presence.update", capacity=2)
        assert bob.mail() == []
        await bob.ask("mail.ack", **held(mail[0]))
        assert bodies(bob.mail()) == [3]


async def test_a_claim_may_wait(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        asked = bob.post("mail.claim", wait_ms=10_000, max=5, lease_ms=1_000)
        await r.settle()
        await r.advance(9_000)
        assert await bob.ask("presence.update") == {}  # answered before the claim
        (sent,) = await send(ann, "bob", 1)
        (mail,) = bob.reply(asked)["ok"]["deliveries"]
        assert (mail["message"], mail["lease_ms"]) == (sent["message"], 1_000)
        assert sent["deliveries"][0]["transport"] == "online"
        await bob.ask("mail.ack", **held(mail))


async def test_a_wait_ends_empty_when_it_is_over(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=0)
        asked = bob.post("mail.claim", wait_ms=1_000)
        await r.settle()
        await r.advance(999)
        assert not [frame for frame in bob.line.frames if frame.get("re") == asked]
        await r.advance(1)
        assert bob.reply(asked)["ok"] == {"deliveries": []}
        await send(bob, "bob", 1)
        assert await pull(bob, wait_ms=1_000) == [1]


@pytest.mark.parametrize("wait_ms", [-1, 60_001, "1s"])
async def test_a_wait_has_its_bounds(tmp_path: Path, wait_ms: int) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=0)
        error = await bob.refused("bad_request", "mail.claim", wait_ms=wait_ms)
        assert "wait_ms" in error["message"]


async def test_a_second_waiting_claim_is_refused_and_one_that_does_not_wait_is_not(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", session="s1", capacity=0)
        other = await r.join("bob", observe=True)
        asked = bob.post("mail.claim", wait_ms=10_000, mailbox="bob")
        await r.settle()
        error = await bob.refused("bad_request", "mail.claim", wait_ms=1)
        assert "wait_ms" in error["message"]
        await send(other, "bob/s1", 1)
        await bob.refused("bad_request", "mail.claim", wait_ms=1, mailbox="bob/s1")
        assert await pull(bob, mailbox="bob/s1") == [1]
        assert await pull(bob) == []
        await send(other, "bob", 2)
        assert bodies(bob.reply(asked)["ok"]["deliveries"]) == [2]
        later = bob.post("mail.claim", wait_ms=10_000)
        await r.settle()
        await send(other, "bob", 3)
        assert bodies(bob.reply(later)["ok"]["deliveries"]) == [3]


async def test_a_request_id_that_waits_is_in_flight(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=0)
        bob.write(b'{"op":"mail.claim","id":"w","wait_ms":1000}')
        await r.settle()
        bob.write(b'{"op":"presence.update","id":"w"}')
        await r.settle()
        (error,) = [frame for frame in bob.line.frames if frame.get("re") == "w"]
        assert error["error"]["code"] == "bad_request"
        await r.advance(1_000)
        bob.write(b'{"op":"presence.update","id":"w"}')
        await r.settle()
        assert [frame.get("ok") for frame in bob.line.frames if frame.get("re") == "w"] == [
            None,
            {"deliveries": []},
            {},
        ]


async def test_a_waiting_claim_without_an_id_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=0)
        bob.write(b'{"op":"mail.claim","wait_ms":1000}')
        await r.settle()
        (error,) = bob.events("error")
        assert error["error"]["code"] == "bad_request"


async def test_a_drainer_with_room_comes_before_who_waits(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        eye = await r.join("bob", observe=True)
        asked = eye.post("mail.claim", wait_ms=10_000)
        await r.settle()
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1)
        assert bodies(bob.mail()) == [1]
        await send(ann, "bob", 2)
        assert bodies(eye.reply(asked)["ok"]["deliveries"]) == [2]


async def test_who_waits_longest_is_first(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        eyes = [await r.join("bob", observe=True) for _ in range(3)]
        asked = []
        for eye in eyes:
            asked.append(eye.post("mail.claim", wait_ms=10_000))
            await r.settle()
        await send(ann, "bob", 0, 1, 2)
        assert [
            bodies(eye.reply(id)["ok"]["deliveries"]) for eye, id in zip(eyes, asked, strict=True)
        ] == [[0], [1], [2]]


@pytest.mark.parametrize("wakes", ["status", "redrive", "due", "nack", "bye", "lease"])
async def test_what_makes_mail_deliverable_ends_the_wait(tmp_path: Path, wakes: str) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        other = await r.join("bob", role="control-plane", capacity=0)
        if wakes == "status":
            await bob.ask("presence.update", status="dnd")
        if wakes == "due":
            await send(ann, "bob", 1, delay_ms=500)
        else:
            await send(ann, "bob", 1)
        mail: Any = None
        if wakes not in ("status", "due"):
            (mail,) = (await other.ask("mail.claim"))["deliveries"]
        if wakes == "redrive":
            await other.ask("mail.nack", **held(mail), dead=True)
        asked = bob.post("mail.claim", wait_ms=10_000)
        await r.settle()
        assert not [frame for frame in bob.line.frames if frame.get("re") == asked]
        if wakes == "status":
            await bob.ask("presence.update", status="idle")
        elif wakes == "redrive":
            await other.ask("mail.redrive", delivery=mail["delivery"])
        elif wakes == "nack":
            await other.ask("mail.nack", **held(mail), delay_ms=0)
        elif wakes == "bye":
            await other.ask("bye")
        else:
            await r.advance(1_001)
        assert bodies(bob.reply(asked)["ok"]["deliveries"]) == [1]


async def test_a_waiter_that_is_gone_gets_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        bob.post("mail.claim", wait_ms=10_000)
        await r.settle()
        await bob.lose()
        (sent,) = await send(ann, "bob", 1)
        assert sent["deliveries"][0]["queued"] is True
        again = await r.join("bob", role="service", capacity=0, resume=bob.welcome["resume"])
        assert await pull(again, wait_ms=1_000) == [1]


async def test_bye_answers_who_waits(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=0)
        asked = bob.post("mail.claim", wait_ms=10_000)
        await r.settle()
        await bob.ask("bye")
        assert bob.reply(asked)["ok"] == {"deliveries": []}


async def test_a_mailbox_that_closes_answers_who_waits_for_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        eye = await r.join("bob", observe=True)
        both = await r.join("bob", observe=True)
        alone = eye.post("mail.claim", wait_ms=10_000, mailbox="bob/s1")
        member = both.post("mail.claim", wait_ms=10_000)
        await r.settle()
        await bob.ask("bye", final=True)
        assert eye.reply(alone)["ok"] == {"deliveries": []}
        await send(ann, "bob", 1)
        assert bodies(both.reply(member)["ok"]["deliveries"]) == [1]


async def test_a_drain_answers_who_waits_and_refuses_more(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=0)
        asked = bob.post("mail.claim", wait_ms=10_000)
        await r.settle()
        r.broker.executor.drain()
        await r.settle()
        assert bob.reply(asked)["ok"] == {"deliveries": []}
        await bob.refused("draining", "mail.claim")


async def test_in_a_drain_mail_in_hand_can_be_finished_and_nothing_new_is_sent(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=3)
        (sent, *_) = await send(bob, "bob", 1, 2, 3)
        one, two, three = bob.mail()
        r.broker.executor.drain()
        await bob.refused("draining", "mail.send", to="bob", body=1)
        await bob.refused("draining", "mail.cancel", message=sent["message"])
        await bob.refused("draining", "mail.redrive", mailbox="bob")
        await bob.refused("draining", "mail.drop", mailbox="bob")
        await bob.ask("mail.extend", **held(one), note="soon")
        await bob.ask("mail.ack", **held(one), outputs=[{"to": "bob", "body": 4}])
        await bob.ask("mail.nack", **held(two))
        await bob.ask("mail.trace", message=sent["message"])
        await bob.ask("mail.list")
        await bob.ask("mail.dead")
        await bob.ask("mail.ack", **held(three))


async def test_as_many_as_fit_a_frame_and_always_one(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__body=100_000, limits__frame=280_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *["x" * 30_000] * 12, "y" * 99_998, "z" * 99_998, "w" * 99_998)
        sizes = []
        for _ in range(3):
            got = await pull(bob, max=100)
            sizes.append(len(got))
            assert len(bob.line.raw[-1]) <= 280_000
        assert sizes == [9, 4, 2]


async def test_a_frame_is_filled_up_with_small_ones(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *["x" * 10_000] * 100)
        assert len(await pull(bob, max=100)) == 100
        assert 1_000_000 < len(bob.line.raw[-1]) <= 1_048_576


async def test_a_lease_of_its_own(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__backoff_ms=1) as r:
        bob = await r.join("bob", role="service", capacity=0)
        await send(bob, "bob", 1, 2)
        await pull(bob, lease_ms=1_000)
        await pull(bob, lease_ms=100_000)
        await r.advance(1_001)
        assert await pull(bob) == [1]
        await r.advance(50_000)
        assert await pull(bob) == [1]
        assert await pull(bob) == []
        for lease_ms in (999, 3_600_001):
            error = await bob.refused("bad_request", "mail.claim", lease_ms=lease_ms)
            assert "lease_ms" in error["message"]


async def test_a_claim_that_nobody_would_hear_of_takes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", 1)
        bob.write(b'{"op":"mail.claim"}')
        await r.settle()
        (told,) = bob.events("error")
        assert (told["error"]["code"], told["op"]) == ("bad_request", "mail.claim")
        assert told["error"]["message"].startswith("id: ")
        assert await pull(bob) == [1]


async def test_settled_leases_are_not_remembered_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house_module, "SETTLED_LEASES", 10)
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *range(60))
        (kept,) = (await bob.ask("mail.claim", lease_ms=3_600_000))["deliveries"]
        for _ in range(50):
            (mail,) = (await bob.ask("mail.claim", lease_ms=3_600_000))["deliveries"]
            await bob.ask("mail.ack", **held(mail))
        assert len(r.broker.house.leases) < 20
        await r.advance(3_600_000)
        states = (await bob.ask("mail.list", state="queued"))["deliveries"]
        assert kept["delivery"] in {one["delivery"] for one in states}


async def test_a_waiting_claim_of_a_lost_connection_takes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        bob.post("mail.claim", wait_ms=60_000)
        await r.settle()
        bob.post("mail.list")
        bob.post("mail.list")  # one waits behind the other when the socket is lost
        r.broker.executor.run()
        bob.conversation.lost()
        ann.post("mail.send", to="bob", body=1)
        await r.settle()
        again = await r.join("bob", role="service")
        assert bodies(again.mail()) == [1]
