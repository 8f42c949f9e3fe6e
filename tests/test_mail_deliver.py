"""How a delivery begins: in somebody's hands at once, in the queue, or later."""

from __future__ import annotations

from pathlib import Path

from mail_desk import bodies, copies, desk, held, send, take, traced


async def test_a_delayed_mail_is_handed_over_when_it_is_due(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", "late", delay_ms=5_000)
        assert copies(sent)["bob"]["queued"] is True
        await send(ann, "bob", "now")
        assert bodies(bob.mail()) == ["now"]
        (listed,) = (await bob.ask("mail.list", state="queued"))["deliveries"]
        assert listed["ready_at"] == r.clock.now() + 5_000
        await r.advance(4_999)
        assert bob.mail() == []
        await r.advance(1)
        assert bodies(bob.mail()) == ["late"]


async def test_what_is_due_goes_before_what_is_newer_and_still_queued(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", "late", delay_ms=1_000)
        await send(ann, "bob", 1, 2)
        mail = await take(bob)
        await r.advance(1_000)
        await bob.ask("mail.ack", **held(mail))
        assert bodies(bob.mail()) == ["late"]


async def test_a_delay_survives_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await send(ann, "ann", 1, delay_ms=5_000)
        await r.restart()
        ann = await r.join("ann", role="service")
        await r.advance(4_999)
        assert ann.mail() == []
        await r.advance(1)
        assert bodies(ann.mail()) == [1]


async def test_higher_first_then_oldest_first(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        for number, priority in enumerate((50, 10, 255, 50, 0, 100, 10, 255)):
            await send(ann, "bob", number, priority=priority)
        bob = await r.join("bob", role="service")
        assert bodies(bob.mail()) == [2, 7, 5, 0, 3, 1, 6, 4]


async def test_order_holds_however_long_the_queue_is(tmp_path: Path) -> None:
    """Longer than the window that is kept of it, filled and drained at the same time."""
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", *range(200))
        got, urgent = [], []
        for number in range(200):
            mail = await take(bob)
            got.append(mail["body"])
            if number % 10 == 5:
                await send(ann, "bob", f"u{number}", priority=60)
                urgent.append(f"u{number}")
            await bob.ask("mail.ack", **held(mail))
        left = bob.mail()
        assert [body for body in got if isinstance(body, str)] == urgent[: len(urgent)]
        assert [body for body in got if isinstance(body, int)] == list(range(180))
        assert bodies(left) == [180]


async def test_the_time_is_over_for_what_nobody_took(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        (sent,) = await send(ann, "bob", 1, ttl_ms=1_000)
        await r.advance(999)
        assert (await traced(ann, sent["message"]))["state"] == "queued"
        await r.advance(1)
        gone = await traced(ann, sent["message"])
        assert (gone["state"], gone["history"][-1]["reason"]) == ("expired", "ttl")


async def test_news_is_stale_sooner_than_work(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__ttl_ms=5_000, mail__info_ttl_ms=1_000) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        sent = {
            priority: (await send(ann, "bob", 1, priority=priority))[0]["message"]
            for priority in (0, 49, 50, 100)
        }
        await r.advance(1_000)
        states = {p: (await traced(ann, message))["state"] for p, message in sent.items()}
        assert states == {0: "expired", 49: "expired", 50: "queued", 100: "queued"}
        await r.advance(4_000)
        assert (await traced(ann, sent[100]))["state"] == "expired"


async def test_what_expires_makes_way_for_what_stands_behind_it(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=2) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "ann", 1)
        await send(ann, "bob", "held")
        await send(ann, "bob", "short", ttl_ms=1_000)
        await ann.refused("mailbox_full", "mail.send", to="bob", body="more")
        await r.advance(1_000)
        await send(ann, "bob", "more")
        await bob.ask("mail.ack", **held(await take(bob)))
        assert bodies(bob.mail()) == ["more"]


async def test_a_delay_longer_than_the_life_ends_it_unseen(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        (sent,) = await send(ann, "ann", 1, delay_ms=2_000, ttl_ms=1_000)
        await r.advance(2_000)
        assert ann.mail() == []
        assert (await traced(ann, sent["message"]))["state"] == "expired"


async def test_one_message_row_and_one_row_for_each_copy(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        for number in range(3):
            await r.join("bob", session=f"s{number}", groups=["@team"])
        writer = r.broker.store.writer
        await send(ann, "@team", 1)
        rows, statements = writer.rows, writer.statements
        await send(ann, "@team", 2)
        assert writer.rows - rows == 1 + 3
        assert writer.statements - statements <= 3


async def test_a_straight_life_costs_two_rows_and_one_update(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=100)
        await send(ann, "bob", 0)
        await bob.ask("mail.ack", **held(await take(bob)))
        writer = r.broker.store.writer
        rows, statements = writer.rows, writer.statements
        for number in range(100):
            ann.post("mail.send", to="bob", body=number)
        await r.settle()
        for mail in bob.mail():
            bob.post("mail.ack", **held(mail))
        await r.settle()
        assert r.rows("SELECT count(*) FROM deliveries WHERE state = 'acked'") == [(101,)]
        assert writer.rows - rows == 100 * 3
        assert writer.statements - statements <= 2 * 12
