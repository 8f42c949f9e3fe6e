"""Handing over: who gets what, when, and how much of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mail_desk import bodies, copies, desk, held, send, take
from rig import Peer


async def got(*peers: Peer) -> list[list[Any]]:
    """What each of these was handed since the last look."""
    return [bodies(peer.mail()) for peer in peers]


async def test_a_full_presence_gets_the_next_when_it_has_room(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=2)
        await send(ann, "bob", 1, 2, 3, 4)
        mail = bob.mail()
        assert bodies(mail) == [1, 2]
        await bob.ask("mail.ack", **held(mail[1]))
        assert bodies(bob.mail()) == [3]
        await bob.ask("mail.nack", **held(mail[0]), dead=True)
        assert bodies(bob.mail()) == [4]


async def test_capacity_is_of_the_presence_not_of_the_mailbox(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", capacity=3)
        await send(ann, ["bob", "bob/s1"], 1, 2)
        assert len(bob.mail()) == 3


@pytest.mark.parametrize(
    ("status", "taken"),
    [("idle", [0, 10, 49, 50, 99, 100]), ("working", [50, 99, 100]), ("dnd", [100])],
)
async def test_a_status_takes_from_its_priority_up(
    tmp_path: Path, status: str, taken: list[int]
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", status=status)
        for priority in (0, 10, 49, 50, 99, 100):
            (sent,) = await send(ann, "bob", priority, priority=priority)
            assert copies(sent)["bob"]["queued"] is (priority not in taken)
        assert bodies(bob.mail()) == taken
        await bob.ask("presence.update", status="idle")
        rest = {0, 10, 49, 50, 99, 100} - set(taken)
        assert bodies(bob.mail()) == sorted(rest, reverse=True)


async def test_critical_mail_is_handed_over_up_to_sixteen_beyond_capacity(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=2)
        await send(ann, "bob", "a", "b", "c")
        await send(ann, "bob", *range(18), priority="critical")
        mail = bob.mail()
        assert bodies(mail) == ["a", "b", *range(16)]
        assert [one["preempt"] for one in mail] == [False] * 2 + [True] * 16
        await bob.ask("mail.ack", **held(mail[0]))
        more = await take(bob)
        assert (more["body"], more["preempt"]) == (16, True)


async def test_critical_mail_within_capacity_is_not_marked(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=2)
        await send(ann, "bob", 1, 2, 3, priority=255)
        assert [mail["preempt"] for mail in bob.mail()] == [False, False, True]


async def test_nothing_is_pushed_at_capacity_nought_not_even_critical_mail(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", 1, priority="critical")
        assert bob.mail() == []


async def test_roles_take_precedence_and_a_full_first_role_does_not_pass_on(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        session = await r.join("bob", session="s1")
        service = await r.join("bob", role="service")
        daemon = await r.join("bob", role="control-plane", capacity=1)
        await send(ann, "bob", 1, 2)
        assert await got(daemon, service, session) == [[1], [], []]
        await daemon.ask("presence.update", status="dnd")
        await send(ann, "bob", 3)
        assert await got(daemon, service, session) == [[], [], []]
        await daemon.ask("presence.update", capacity=0)
        assert await got(daemon, service, session) == [[], [2, 3], []]
        await service.lose()
        await send(ann, "bob", 4)
        assert await got(daemon, service, session) == [[], [], [4]]


async def test_those_of_one_role_compete_by_their_room(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        small = await r.join("bob", role="service", capacity=1)
        large = await r.join("bob", role="service", capacity=3)
        await send(ann, "bob", *range(6))
        handed = await got(small, large)
        assert [len(one) for one in handed] == [1, 3]
        assert sorted(body for one in handed for body in one) == [0, 1, 2, 3]
        assert handed[1][:2] == [0, 1]


async def test_who_is_gone_is_handed_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        asked = ann.post("mail.send", to="bob", body=1)
        bob.conversation.lost()
        await r.settle()
        (copy,) = ann.reply(asked)["ok"]["deliveries"]
        assert (copy["state"], copy["queued"]) == ("queued", True)
        assert bob.mail() == []


async def test_who_does_not_read_is_handed_nothing_until_it_reads(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__outbox=100_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=100)
        bob.line.held = 200_000
        await send(ann, "bob", "x" * 40_000)
        await take(bob)
        await send(ann, "bob", 2, 3)
        assert bob.mail() == []
        bob.line.held = 0
        bob.conversation.writable()
        await r.settle()
        assert bodies(bob.mail()) == [2, 3]


async def test_of_two_mailboxes_priority_first_then_ones_own_then_the_oldest(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", capacity=0)
        for number, (to, priority) in enumerate(
            [("bob", 50), ("bob/s1", 50), ("bob", 60), ("bob/s1", 10), ("bob", 50), ("bob/s1", 50)]
        ):
            await send(ann, to, number, priority=priority)
        await bob.ask("presence.update", capacity=10)
        assert bodies(bob.mail()) == [2, 1, 5, 0, 4, 3]


async def test_a_mailbox_that_was_pulled_from_keeps_its_order(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", 1, 2)
        first = await bob.ask("mail.claim")
        await send(ann, "bob", "urgent", priority=60)
        second = await bob.ask("mail.claim")
        assert bodies(first["deliveries"] + second["deliveries"]) == [1, "urgent"]


async def test_a_mail_is_handed_over_as_soon_as_it_is_deliverable(tmp_path: Path) -> None:
    """What wakes the dispatcher: accept, ack, nack, hello, status, capacity, lease end, due."""
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=500) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1, 2)
        assert bodies(bob.mail()) == [1]
        await r.advance(1_000)  # the lease of 1 ends
        assert bodies(bob.mail()) == [2]
        await r.advance(500)  # 1 is due again; the lease of 2 is not over
        assert bob.mail() == []
        await r.advance(500)
        mail = await take(bob)
        assert (mail["body"], mail["attempt"]) == (1, 2)
        await bob.ask("mail.nack", **held(mail), delay_ms=10_000)
        await r.advance(0)
        assert bob.mail() == []
        await r.advance(500)
        mail = await take(bob)
        assert (mail["body"], mail["attempt"]) == (2, 2)
        await bob.ask("mail.ack", **held(mail))


async def test_a_long_queue_is_handed_over_in_rounds(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *range(600))
        bob = await r.join("bob", role="service", capacity=1_000)
        mail = bob.mail()
        assert bodies(mail) == list(range(600))
        assert r.broker.executor.batches > 1
        for one in mail[:300]:
            bob.post("mail.ack", **held(one))
        await r.settle()
        await send(ann, "bob", 600)
        assert bodies(bob.mail()) == [600]


async def test_a_mail_that_comes_while_a_long_queue_is_handed_over_waits_its_turn(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *range(300))
        bob = await r.join("bob", role="service", capacity=0)
        bob.post("presence.update", capacity=1_000)
        ann.post("mail.send", to="bob", body=300)
        ann.post("mail.send", to="bob", body="urgent", priority=60)
        await r.settle()
        found = bodies(bob.mail())
        assert [body for body in found if body != "urgent"] == list(range(301))


async def test_ten_mailboxes_do_not_wait_for_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        peers = [await r.join(f"m{number}", role="service", capacity=1) for number in range(10)]
        await send(ann, "*", *range(3))
        for number in range(3):
            for peer in peers:
                mail = await take(peer)
                assert mail["body"] == number
                await peer.ask("mail.ack", **held(mail))


async def test_who_reads_slowly_is_not_handed_more_than_its_outbox_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, limits__outbox=1_000_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *["x" * 200_000] * 40)
        monkeypatch.setattr(bob.line, "pending", lambda: sum(map(len, bob.line.raw)))
        await bob.ask("presence.update", capacity=100)
        assert sum(map(len, bob.line.raw)) < 3_000_000
        handed = len(bob.mail())
        monkeypatch.setattr(bob.line, "pending", lambda: 0)
        bob.conversation.writable()
        await r.settle()
        assert handed + len(bob.mail()) == 40
