"""A broker that starts again: what waits, what is held and by whom, and what that counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mail_desk import bodies, desk, held, look_over, send, take, traced

SECOND = 1_000


async def test_what_waits_waits_on_in_its_order(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", capacity=0)
        for number, priority in enumerate((50, 10, 100, 50)):
            await send(ann, ["bob", "bob/s1"], number, priority=priority)
        await r.restart()
        look_over(r)
        bob = await r.join("bob", session="s1")
        own, members = "bob/s1", "bob"
        assert [(mail["body"], mail["mailbox"]) for mail in bob.mail()] == [
            (2, own), (2, members),
            (0, own), (3, own), (0, members), (3, members),
            (1, own), (1, members),
        ]  # fmt: skip


async def test_a_member_away_for_days_gets_its_mail_in_order_on_hello(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await bob.ask("bye")
        for number in range(150):
            await send(ann, "bob", number)
            if number == 75:
                await r.advance(2 * 86_400_000)
                await r.restart()
                ann = await r.join("ann", role="service")
        await r.advance(2 * 86_400_000)
        bob = await r.join("bob", role="service", capacity=200)
        mail = bob.mail()
        assert bodies(mail) == list(range(150))
        assert {one["attempt"] for one in mail} == {1}


async def test_a_live_claim_stays_with_its_holder_who_may_resume_and_ack(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1)
        mail = await take(bob)
        await r.restart()
        other = await r.join("bob", role="service")
        assert other.mail() == []
        again = await r.join("bob", role="service", resume=bob.welcome["resume"])
        assert again.welcome["resumed"] is True
        pushed = await take(again)
        assert (pushed["claim"], pushed["attempt"], pushed["claims"]) == (mail["claim"], 1, 1)
        await again.ask("mail.ack", **held(mail))
        ann = await r.join("ann", role="service")
        assert (await traced(ann, sent["message"]))["state"] == "acked"


async def test_a_claim_lasts_to_the_later_of_its_end_and_start_plus_lease(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=10 * SECOND, mail__backoff_ms=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", "short", "long")
        _, long = bob.mail()
        await bob.ask("mail.extend", **held(long), lease_ms=30 * SECOND)
        await r.advance(9 * SECOND)
        await r.restart()
        other = await r.join("bob", role="service")
        await r.advance(10 * SECOND - 1)
        assert other.mail() == []
        await r.advance(1)
        mail = await take(other)
        assert (mail["body"], mail["attempt"], mail["claims"]) == ("short", 1, 2)
        await other.ask("mail.ack", **held(mail))
        await r.advance(11 * SECOND - 1)
        assert other.mail() == []
        await r.advance(1)
        mail = await take(other)
        assert (mail["body"], mail["attempt"], mail["claims"]) == ("long", 1, 2)


async def test_a_claim_that_would_have_ended_while_the_broker_was_down_stays_too(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, mail__lease_ms=1 * SECOND, presence__lease_ms=60 * SECOND) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        mail = await take(bob)
        await r.crash()
        r.clock.time += 30 * SECOND
        await r.start()
        again = await r.join("bob", role="service", resume=bob.welcome["resume"])
        pushed = await take(again)
        assert pushed["claim"] == mail["claim"]
        assert pushed["lease_ms"] == 1 * SECOND
        assert pushed["claim_expires_at"] == r.clock.now() + 1 * SECOND
        await r.advance(999)
        await again.ask("mail.extend", **held(mail))


async def test_after_an_extend_it_is_a_claim_like_any_other(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1 * SECOND, mail__backoff_ms=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        mail = await take(bob)
        await r.restart()
        again = await r.join("bob", role="service", resume=bob.welcome["resume"])
        await take(again)
        await again.ask("mail.extend", **held(mail))
        await r.advance(1 * SECOND + 1)
        assert (await take(again))["attempt"] == 2


async def test_restarts_count_no_failure_and_end_in_dead_all_the_same(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "mail__lease_ms": SECOND,
        "mail__max_claims": 6,
        "mail__backoff_ms": SECOND,
        "presence__lease_ms": SECOND,
    }
    async with desk(tmp_path, **settings) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        (sent,) = await send(ann, "bob", 1, max_attempts=1)
        waits = []
        for number in range(6):
            bob = await r.join("bob", role="service")
            began = r.clock.now()
            while not (found := bob.mail()):
                await r.advance(100)
            waits.append(r.clock.now() - began)
            assert (found[0]["attempt"], found[0]["claims"]) == (1, number + 1)
            await r.restart()
            await r.advance(SECOND)
        ann = await r.join("ann", role="service")
        gone = await traced(ann, sent["message"])
        assert (gone["state"], gone["failures"], gone["claims"]) == ("dead", 0, 6)
        assert gone["last_error"] == "claims_exhausted"
        assert waits[:3] == [0, 0, 0]
        assert waits[3] >= SECOND
        assert waits[4] >= 2 * SECOND


async def test_nothing_loses_an_attempt_through_restart_drain_or_bye(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__backoff_ms=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, max_attempts=1)
        await take(bob)
        r.broker.executor.drain()
        await r.settle()
        await bob.lose()
        await r.restart()
        bob = await r.join("bob", role="service", resume=bob.welcome["resume"])
        mail = await take(bob)
        assert (mail["attempt"], mail["claims"]) == (1, 1)
        await bob.ask("bye")
        bob = await r.join("bob", role="service")
        mail = await take(bob)
        assert (mail["attempt"], mail["claims"]) == (1, 2)
        await bob.ask("mail.ack", **held(mail))


async def test_a_worker_that_crashes_on_one_message_ends_with_it_dead_and_the_rest_handled(
    tmp_path: Path,
) -> None:
    """The same label again and again: each hello replaces the presence that crashed."""
    settings: dict[str, Any] = {"mail__backoff_ms": 100, "mail__max_claims": 8}
    async with desk(tmp_path, **settings) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", session="w", capacity=0)
        sent = await send(ann, "bob", *["good", "poison", "good", "good"])
        for _ in range(40):
            worker = await r.join("bob", session="w", capacity=1)
            await r.advance(5_000)
            crashed = False
            while not crashed:
                found = worker.mail()
                if not found:
                    break
                if found[0]["body"] == "poison":
                    crashed = True
                    await worker.lose()
                else:
                    await worker.ask("mail.ack", **held(found[0]))
        states = [(await traced(ann, one["message"]))["state"] for one in sent]
        assert states == ["acked", "dead", "acked", "acked"]


async def test_claims_that_came_through_a_restart_end_in_pieces(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=SECOND, mail__backoff_ms=60 * SECOND) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=2_000)
        await send(ann, "bob", *range(1_200))
        assert len(bob.mail()) == 1_200
        await r.restart()
        look_over(r)
        batches = r.broker.executor.batches
        await r.advance(SECOND)
        assert r.rows("SELECT state, failures, count(*) FROM deliveries GROUP BY 1, 2") == [
            ("queued", 0, 1_200)
        ]
        assert r.broker.executor.batches - batches >= 3


async def test_keys_receipts_and_traces_survive(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1, receipt=True, key="k")
        mail = await take(bob)
        await r.restart()
        bob = await r.join("bob", role="service", resume=bob.welcome["resume"])
        await bob.ask("mail.ack", **held(mail))
        ann = await r.join("ann", session="s1")
        assert (await take(ann))["body"]["state"] == "acked"
        (again,) = await send(ann, "bob", 1, receipt=True, key="k")
        assert (again["message"], again["duplicate"]) == (sent["message"], True)


async def test_what_ended_with_its_mailbox_is_not_counted_in_it_after_a_crash(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", capacity=0)
        await send(ann, "bob/s1", 1, delay_ms=3_600_000)
        again = r.connect()
        bob.post("bye", final=True)
        again.post("hello", member="bob", session="s1", token=r.tokens["bob"])
        r.broker.executor.run()  # closed and opened again, and its rows still to be ended
        await r.restart()
        member = r.broker.house.meshes["default"].members["bob"]
        assert member.sessions["s1"].unfinished == 0
        await r.settle()
