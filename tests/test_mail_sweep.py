"""What time does to mail, and what a closed mailbox does: in chunks, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_disk import BrokenDisk
from mail_desk import bodies, desk, held, look_over, receipts, send, take, traced
from rig import Rig

DAY = 86_400_000


def states(r: Rig) -> dict[str, int]:
    """How many deliveries there are in each state."""
    return dict(r.rows("SELECT state, count(*) FROM deliveries GROUP BY state"))


async def test_leases_end_in_their_order_each_at_its_time(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=10_000) as r:
        bob = await r.join("bob", role="service")
        sent = []
        for number in range(3):
            sent += await send(bob, "bob", number)
            await r.advance(100)
        for number in range(3):
            await r.advance(700 if number == 0 else 100)
            assert states(r) == {"queued": number + 1, "claimed": 2 - number} or number == 2
        assert states(r) == {"queued": 3}


async def test_a_consumer_that_dies_gets_its_mail_redelivered_with_no_other_event(
    tmp_path: Path,
) -> None:
    """Nobody sends, nobody acks, nobody joins: only time passes."""
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=500) as r:
        ann = await r.join("ann", role="service")
        dead = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1)
        await take(dead)
        await dead.lose()
        alive = await r.join("bob", role="service", capacity=1)
        await r.advance(1_499)
        assert alive.mail() == []
        await r.advance(1)
        mail = await take(alive)
        assert (mail["body"], mail["attempt"], mail["claims"]) == (1, 2, 2)


async def test_many_leases_that_end_at_once_are_ended_in_pieces(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=60_000) as r:
        bob = await r.join("bob", role="service", capacity=2_000)
        await send(bob, "bob", *range(1_200))
        for mail in bob.mail()[:600]:
            bob.post("mail.extend", **held(mail))
        await r.settle()
        batches = r.broker.executor.batches
        await r.advance(1_000)
        assert states(r) == {"queued": 1_200}
        assert r.broker.executor.batches - batches >= 3


async def test_many_that_are_due_or_over_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=2_000)
        await send(bob, "bob", *range(700), delay_ms=1_000)
        await send(bob, "bob", *range(700), delay_ms=5_000, ttl_ms=1_000)
        await r.advance(1_000)
        assert states(r) == {"claimed": 700, "expired": 700}
        assert bodies(bob.mail()) == list(range(700))


async def test_a_refused_ack_does_not_put_off_the_end_of_its_lease(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=60_000) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", "first")
        first = await take(bob)
        await r.advance(500)
        await send(bob, "bob", "second")
        await bob.refused(
            "unknown_recipient", "mail.ack", **held(first), outputs=[{"to": "nobody", "body": 1}]
        )
        await r.advance(500)
        assert states(r) == {"queued": 1, "claimed": 1}


async def test_a_lease_that_ends_while_the_disk_is_full_ends_when_it_is_well(
    tmp_path: Path,
) -> None:
    disk = BrokenDisk()
    settings = {"mail__lease_ms": 1_000, "mail__backoff_ms": 100}
    async with desk(tmp_path, disk, faulty=True, **settings) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1, 2)
        one, two = bob.mail()
        await bob.ask("mail.extend", **held(two), lease_ms=1_500)
        disk.full = True
        await r.advance(3_000)
        await bob.refused("unavailable", "mail.ack", **held(one))
        assert bob.mail() == []
        disk.full = False
        await r.advance(5_000)
        assert sorted((mail["body"], mail["attempt"]) for mail in bob.mail()[:2]) == [
            (1, 2),
            (2, 2),
        ]


async def test_a_batch_that_cannot_be_written_leaves_memory_as_it_was(tmp_path: Path) -> None:
    disk = BrokenDisk()
    async with desk(tmp_path, disk, faulty=True) as r:
        ann = await r.join("ann", role="service", groups=["@team"])
        bob = await r.join("bob", role="service", capacity=2, groups=["@team"])
        await send(ann, "bob", 1, 2, 3)
        one, two = bob.mail()
        disk.full = True
        asked = [
            ann.post("mail.send", to="@team", body=9, key="k", receipt=True),
            bob.post("mail.ack", **held(one), outputs=[{"to": "ann", "body": 9}]),
            bob.post("mail.nack", **held(two), delay_ms=0),
            bob.post("mail.claim", wait_ms=5_000),
        ]
        await r.settle()
        assert ann.reply(asked[0])["error"]["code"] == "unavailable"
        assert all(bob.reply(id)["error"]["code"] == "unavailable" for id in asked[1:])
        assert ann.mail() == bob.mail() == []
        look_over(r)
        disk.full = False
        await r.advance(2_000)
        await bob.ask("mail.ack", **held(one), outputs=[{"to": "ann", "body": 9}])
        assert bodies(ann.mail()) == [9]
        assert bodies(bob.mail()) == [3]


async def test_a_final_bye_ends_what_is_queued(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", capacity=1)
        await send(ann, "bob/s1", 1, 2, receipt=True)
        await send(ann, "bob/s1", 3, delay_ms=1_000, receipt=True)
        await send(ann, "bob", "for the member")
        mail = await take(bob)
        await bob.ask("bye", final=True)
        assert states(r) == {"expired": 3, "queued": 1, "claimed": 3}  # three receipts
        assert await receipts(ann) == [("expired", "session_closed")] * 3
        other = await r.join("bob", session="s2")
        await other.refused("stale_claim", "mail.ack", **held(mail))
        assert bodies(other.mail()) == ["for the member"]


async def test_a_label_opened_again_begins_empty_and_goes_on_counting(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", capacity=1)
        sent = await send(ann, "bob/s1", 1, 2, 3)
        await take(bob)
        await bob.ask("bye", final=True)
        bob = await r.join("bob", session="s1", capacity=1)
        assert bob.mail() == []
        (new,) = await send(ann, "bob/s1", 4)
        assert new["deliveries"][0]["depth"] == 0
        mail = await take(bob)
        assert mail["body"] == 4
        assert mail["seq"] > max(int(one["deliveries"][0]["delivery"][1:]) for one in sent)


async def test_nothing_of_a_closed_mailbox_is_delivered_while_its_rows_end(
    tmp_path: Path,
) -> None:
    """Closed and opened again in one batch, before the first chunk of its rows has ended."""
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service", capacity=0)
        bob = await r.join("bob", session="s1", capacity=0)
        await send(ann, "bob/s1", *range(1_100), receipt=True)
        late = await r.join("bob", observe=True)
        bob.post("bye", final=True)
        new = r.connect()
        hello = new.post("hello", member="bob", token=r.tokens["bob"], session="s1")
        sent = ann.post("mail.send", to="bob/s1", body="new")
        pulled = late.post("mail.claim", max=100, mailbox="bob/s1")
        r.broker.executor.run()
        assert new.reply(hello)["ok"]["address"] == "bob/s1"
        assert ann.reply(sent)["ok"]["deliveries"][0]["state"] == "claimed"
        assert states(r)["queued"] == 1_100
        await r.settle()
        assert bodies(new.mail()) == ["new"]
        assert late.reply(pulled)["ok"]["deliveries"] == []
        assert states(r)["expired"] == 1_100
        assert states(r)["queued"] == 1_100  # the receipts
        await r.restart()
        new = await r.join("bob", session="s1")
        assert bodies(new.mail()) == ["new"]


async def test_a_closing_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service", capacity=0)
        bob = await r.join("bob", session="s1", capacity=0)
        await send(ann, "bob/s1", *range(600))
        await send(ann, "bob/s1", *range(600), delay_ms=DAY)
        bob.post("bye", final=True)
        r.broker.executor.run()
        assert states(r) == {"queued": 1_200}
        await r.restart()
        await r.settle()
        assert states(r) == {"expired": 1_200}
        assert r.rows("SELECT count(*) FROM mailbox_endings") == [(0,)]


async def test_a_late_ack_does_not_revive_what_ended_with_its_mailbox(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=60_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        eye = await r.join("bob", observe=True)
        await send(ann, "bob/s1", 1, receipt=True)
        mail = await take(bob)
        await r.advance(1_000)
        bob.post("bye", final=True)
        asked = eye.post("mail.ack", **held(mail))
        await r.settle()
        assert eye.reply(asked)["error"]["code"] == "stale_claim"
        assert await receipts(ann) == [("expired", "session_closed")]


async def test_a_session_that_never_comes_back_is_closed_after_the_retention(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, mail__retention_ms=DAY, presence__lease_ms=1_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", capacity=0)
        (sent,) = await send(ann, "bob/s1", 1, ttl_ms=3 * DAY, receipt=True)
        await bob.ask("bye")
        await r.advance(DAY - 1)
        assert (await traced(ann, sent["message"]))["state"] == "queued"
        await r.advance(1)
        assert await receipts(ann) == [("expired", "session_closed")]
        await ann.refused("unknown_recipient", "mail.send", to="bob/s1", body=1)


async def test_the_mailbox_of_a_label_that_the_broker_made_closes_with_its_presence(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, presence__lease_ms=1_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob")
        await bob.ask("presence.update", capacity=0)
        await send(ann, bob.welcome["address"], 1, receipt=True)
        await bob.lose()
        await r.advance(999)
        assert ann.mail() == []
        await r.advance(1)
        assert await receipts(ann) == [("expired", "session_closed")]


@pytest.mark.parametrize("capacity", [0, 700])
async def test_a_removed_member_ends_its_mail_in_pieces(tmp_path: Path, capacity: int) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service", capacity=0)
        await r.join("bob", role="service", capacity=capacity)
        await send(ann, "bob", *range(700))
        (sent,) = await send(ann, "bob", "told", receipt=True)
        owner = await r.join("owner", observe=True)
        await owner.ask("member.remove", member="bob")
        assert states(r) == {"expired": 701, "queued": 1}
        gone = await traced(ann, sent["message"])
        assert (gone["state"], gone["last_error"]) == ("expired", "member_removed")
        (receipt,) = (await ann.ask("mail.claim"))["deliveries"]
        assert receipt["body"]["reason"] == "member_removed"


async def test_a_mailbox_that_closes_empty_has_nothing_to_end(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob")
        await send(ann, bob.welcome["address"], 1)
        await bob.ask("mail.ack", **held(await take(bob)))
        bob.post("bye")
        r.broker.executor.run()
        assert r.rows("SELECT count(*) FROM mailbox_endings") == [(0,)]


async def test_what_is_due_at_one_instant_is_due_before_any_of_it_is_handed_over(
    tmp_path: Path,
) -> None:
    """A lease ends, which makes room, at the very millisecond at which an older mail is due."""
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=60_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", "older", delay_ms=1_000)
        await send(ann, "bob", "held", "newer")
        await take(bob)
        await r.advance(1_000)
        assert bodies(bob.mail()) == ["older"]


async def test_what_never_left_for_a_slow_reader_counts_no_failure(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_attempts=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, 2)
        seen, unseen = (mail["delivery"] for mail in bob.mail())
        bob.line.unread = bob.line.raw[-1:]
        await r.advance(30_000)
        listed = (await ann.rig.join("owner", observe=True)).ask("mail.list", mailbox="bob")
        states = {one["delivery"]: one for one in (await listed)["deliveries"]}
        assert (states[seen]["state"], states[seen]["failures"]) == ("dead", 1)
        assert states[unseen]["failures"] == 0
        (again,) = bob.mail()
        assert (again["delivery"], again["attempt"], again["claims"]) == (unseen, 1, 2)
