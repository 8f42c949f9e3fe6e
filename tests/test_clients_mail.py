"""One mail in the client, from its reading to its ack, and many of them shared out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
from clients_stub import (
    ACKED,
    NACKED,
    Stub,
    delivery,
    extended,
    join,
    sent,
    stub,
    until,
)

from clients import errors, keeper


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.01)
    # Some scripts end without an answer to the last ack.
    monkeypatch.setattr("clients.client.LEAVE_SECONDS", 0.2)


class Order(msgspec.Struct):
    """What some handlers want."""

    number: int


async def test_a_mail_shows_what_the_broker_wrote(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        frame = delivery(
            7, {"a": [1, 2.5]}, meta={"x": 1}, kind="note", priority=100, attempt=3, reply_to="m2"
        )
        await line.say(frame)
        mail = await anext(me.mail())
        assert (mail.message, mail.delivery, mail.claim, mail.seq) == ("m7", "d7", "c7", 14)
        assert (mail.sender, mail.to, mail.mailbox) == ("bob", "alice", "alice")
        assert (mail.kind, mail.priority, mail.attempt) == ("note", 100, 3)
        assert (mail.reply_to, mail.sent_at, mail.meta) == ("m2", 1, {"x": 1})
        assert mail.body == {"a": [1, 2.5]}
        assert mail.delivered.max_attempts == 5


async def test_a_body_is_raw_until_it_is_asked_for(broker: Stub) -> None:
    body = f'{{"number": 1, "number":2, "big":1{"0" * 30}}}'
    text = msgspec.json.encode(delivery(body=msgspec.Raw(body.encode()))).decode()
    async with join(broker) as me:
        line = await broker.line()
        await line.socket.send(text)
        mail = await anext(me.mail())
        assert mail.raw == body.encode()
        assert mail.decode(Order) == Order(2)
        with pytest.raises(errors.BodyUnreadable, match="m1"):
            mail.decode(list[int])
        assert not mail.settled


async def test_no_body_that_the_broker_takes_costs_the_connection(broker: Stub) -> None:
    deep = b"[" * 512 + b"]" * 512
    frames = [
        msgspec.json.encode(delivery(number, msgspec.Raw(body)))
        for number, body in enumerate((deep, b"1e999", b'"\\ud83d\\ude00"', b"null"))
    ]
    async with join(broker) as me:
        line = await broker.line()
        await line.socket.send(b"[" + b",".join(frames) + b"]", text=True)
        mails = [await anext(me.mail()) for _ in frames]
        assert [mail.raw for mail in mails] == [deep, b"1e999", b'"\\ud83d\\ude00"', b"null"]
        assert mails[2].body == "\N{GRINNING FACE}"
        with pytest.raises(errors.BodyUnreadable):
            _ = mails[1].body
        assert me.connected


async def test_an_ack_carries_its_outputs(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        outputs = [{"to": ["bob", "@team"], "body": {"x": 1}, "priority": "info"}]
        acking = tasks.create_task(mail.ack(outputs=outputs))
        request = await line.answer("mail.ack", {**ACKED, "outputs": [sent("m9")]})
    assert request["outputs"] == outputs
    assert (request["delivery"], request["claim"]) == ("d1", "c1")
    assert acking.result().outputs[0].message == "m9"
    assert mail.settled


async def test_a_reply_is_an_output_to_the_sender(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        replying = tasks.create_task(mail.reply({"ok": True}, kind="answer"))
        request = await line.answer("mail.ack", {**ACKED, "outputs": [sent("m9")]})
    assert request["outputs"] == [
        {"to": "bob", "reply_to": "m1", "body": {"ok": True}, "kind": "answer"}
    ]
    assert replying.result().message == "m9"


async def test_a_nack_says_how(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        nacking = tasks.create_task(mail.nack("later", delay_ms=5, blame=False))
        request = await line.answer("mail.nack", NACKED)
    del request["op"], request["id"]
    assert request == {
        "delivery": "d1",
        "claim": "c1",
        "reason": "later",
        "delay_ms": 5,
        "blame": False,
    }
    assert nacking.result().state == "queued"


async def test_a_refused_ack_leaves_the_mail_in_hand(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        acking = asyncio.ensure_future(mail.ack([{"to": "nobody", "body": 1}]))
        await line.refuse(await line.request(), "unknown_recipient", detail={"output": 0})
        with pytest.raises(errors.UnknownRecipient):
            await acking
        assert not mail.settled
        again = tasks.create_task(mail.ack())
        await line.answer("mail.ack", ACKED)
        await again
        with pytest.raises(RuntimeError, match="acked or given back before"):
            await mail.ack()


async def test_an_ack_that_nobody_waits_for(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        acking = mail.start_ack([{"to": "bob", "body": 1}])
        assert mail.settled
        await line.answer("mail.ack", ACKED)
        acked = await acking
        assert acked.state == "acked"
        with pytest.raises(RuntimeError, match="acked or given back before"):
            mail.start_ack()


async def test_an_ack_that_nobody_waits_for_can_be_refused(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        acking = mail.start_ack()
        await line.refuse(await line.request(), "stale_claim")
        with pytest.raises(errors.StaleClaim):
            await acking
        assert mail.lost


async def test_sends_that_nobody_waits_for_leave_as_one_message(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        before = len(line.messages)
        sending = [me.mail.start_send("bob", number, kind="count") for number in range(4)]
        with pytest.raises(TypeError, match=r"mail\.send takes no colour"):
            me.mail.start_send("bob", 1, colour=2)
        with pytest.raises(ValueError, match="without a key"):
            me.mail.start_send("bob", 1, repeat=True)
        requests = [await line.request("mail.send") for _ in sending]
        assert len(line.messages) == before + 1
        assert [(one["body"], one["kind"]) for one in requests] == [
            (number, "count") for number in range(4)
        ]
        *others, last = requests
        answered = [(one["id"], sent(f"m{number}")) for number, one in enumerate(others)]
        await line.say(*[{"re": id, "ok": ok} for id, ok in answered])
        await line.refuse(last, "mailbox_full", detail={"mailbox": "bob"})
        assert [(await one).message for one in sending[:3]] == ["m0", "m1", "m2"]
        with pytest.raises(errors.MailboxFull):
            await sending[3]


async def test_a_wrong_output_is_found_before_anything_is_sent(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        with pytest.raises(TypeError, match="a send takes no colour"):
            mail.ack([{"to": "bob", "body": 1, "colour": 2}])
        with pytest.raises(TypeError, match="the fields of a send, which str has not"):
            mail.ack("bob")
        assert not mail.settled
        assert line.idle()


async def test_a_block_acks_at_its_end(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(delivery())

        async def work() -> None:
            async with await anext(me.mail()) as mail:
                assert mail.message == "m1"

        tasks.create_task(work())
        await line.answer("mail.ack", ACKED)


async def test_a_block_that_fails_gives_the_mail_back(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        with pytest.raises(ValueError, match="broken"):
            async with await anext(me.mail()):
                raise ValueError("broken")
        request = await line.answer("mail.nack", NACKED)
        assert request["reason"] == "ValueError: broken"
        assert "blame" not in request


async def test_a_block_that_is_cancelled_gives_it_back_without_blame(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        with anyio.move_on_after(0.01):
            async with await anext(me.mail()):
                await anyio.sleep_forever()
        request = await line.answer("mail.nack", NACKED)
        assert request["blame"] is False


async def test_a_reason_is_cut_between_characters(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        with pytest.raises(ValueError, match="ä"):
            async with await anext(me.mail()):
                raise ValueError("ä" * 5_000)
        request = await line.answer("mail.nack", NACKED)
        assert 4_090 < len(request["reason"].encode()) <= 4_096


# -- many ---------------------------------------------------------------------------------------


async def test_acks_of_one_turn_leave_as_one_message(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(*[delivery(number) for number in range(5)])
        mails = [await anext(me.mail()) for _ in range(5)]
        before = len(line.messages)
        for mail in mails:
            tasks.create_task(mail.ack())
        requests = [await line.request("mail.ack") for _ in mails]
        assert len(line.messages) == before + 1
        await line.say(*[{"re": request["id"], "ok": ACKED} for request in requests])


async def test_several_readers_share_the_mail_out(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        readers = [asyncio.ensure_future(anext(me.mail())) for _ in range(3)]
        await line.say(*[delivery(number) for number in range(3)])
        mails = await asyncio.gather(*readers)
        assert sorted(mail.message for mail in mails) == ["m0", "m1", "m2"]


async def test_a_reader_that_gives_up_leaves_the_mail_to_the_next(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        first, second = (asyncio.ensure_future(anext(me.mail())) for _ in range(2))
        await line.say(delivery())
        await until(lambda: len(me._parts.intake._waiters) == 1)
        first.cancel()
        assert (await second).message == "m1"


async def test_a_reader_that_gives_up_at_a_stop_gives_the_mail_back(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        reading = asyncio.ensure_future(anext(me.mail()))
        await line.say(delivery())
        await until(lambda: len(me._parts.intake.holding))
        me.stop()
        reading.cancel()
        said = [await line.request() for _ in range(2)]
        assert {one["op"] for one in said} == {"presence.update", "mail.nack"}
        for one in said:
            await line.ok(one, NACKED)


async def test_a_typed_reader_buries_what_it_can_not_read(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery(1, {"number": "x"}), delivery(2, {"number": 2}))
        mail = await anext(me.mail(type=Order))
        assert mail.body == Order(2)
        request = await line.answer("mail.nack", NACKED)
        assert (request["delivery"], request["dead"]) == ("d1", True)
        assert "number" in request["reason"]


async def test_what_was_pulled_for_nobody_is_given_back(broker: Stub) -> None:
    async with join(broker, observe=True) as me:
        line = await broker.line()
        taking = asyncio.ensure_future(me.mail.take(wait_ms=1_000))
        asked = await line.request("mail.claim")
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        await line.ok(asked, {"deliveries": [delivery(1)]})
        given_back = await line.answer("mail.nack", NACKED)
        assert (given_back["delivery"], given_back["blame"]) == ("d1", False)


async def test_mails_can_be_pulled(broker: Stub) -> None:
    async with join(broker, observe=True) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        assert line.hello["capacity"] == 0
        taking = tasks.create_task(me.mail.take(2, wait_ms=10, lease_ms=5_000, type=Order))
        pulled = {**delivery(1, {"number": 4}), "lease_ms": 20}
        request = await line.answer("mail.claim", {"deliveries": [pulled]})
        (mail,) = await taking
        assert (request["max"], request["wait_ms"], request["lease_ms"]) == (2, 10, 5_000)
        assert mail.body == Order(4)
        renewal = await line.answer("mail.extend", extended(60_000))
        assert renewal["lease_ms"] == 5_000
        tasks.create_task(mail.ack())
        await line.answer("mail.ack", ACKED)
