"""Mail in the client: handed out once, renewed while held, acked or given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import msgspec
import pytest
from clients_stub import (
    ACKED,
    ALICE,
    NACKED,
    Line,
    Stub,
    delivery,
    extended,
    sent,
    stub,
    until,
    welcome,
)

from clients import connect, errors, keeper
from clients.mail import Mail


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.01)
    # Some scripts end without an answer to the last ack.
    monkeypatch.setattr("clients.client.LEAVE_SECONDS", 0.2)


def join(broker: Stub, **given: Any) -> Any:
    return connect(broker.url, **{**ALICE, **given})


def resumes(broker: Stub, *, resumed: bool = True) -> None:
    """Let the next hello find the presence as it was, or gone."""
    broker.greet = lambda line: {"ok": welcome(resumed=resumed, resume="r2")}


class Order(msgspec.Struct):
    """What some handlers want."""

    number: int


# -- one mail -----------------------------------------------------------------------------------


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


async def test_a_wrong_output_is_found_before_anything_is_sent(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        with pytest.raises(TypeError, match="a send takes no colour"):
            mail.ack([{"to": "bob", "body": 1, "colour": 2}])
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


# -- serving ------------------------------------------------------------------------------------


async def test_a_handler_that_returns_acks(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        seen: list[Any] = []

        async def handle(mail: Mail[Order]) -> None:
            seen.append(mail.body)

        serving = tasks.create_task(me.serve(handler=handle, concurrency=2, type=Order))
        await line.say(delivery(1, {"number": 1}), delivery(2, {"number": 2}))
        for _ in range(2):
            await line.answer("mail.ack", ACKED)
        me.stop()
        await line.answer("presence.update")
        await serving
    assert seen == [Order(1), Order(2)]


async def test_a_plain_function_may_be_a_handler(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        seen: list[str] = []
        tasks.create_task(me.serve(lambda mail: seen.append(mail.message)))
        await line.say(delivery(1), delivery(2))
        for _ in range(2):
            await line.answer("mail.ack", ACKED)
        me.stop()
    assert seen == ["m1", "m2"]


async def test_a_handler_that_raises_gives_back_and_goes_on(
    broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "postroom.client")

    async def handle(mail: Mail[Any]) -> None:
        if mail.message == "m1":
            raise OSError("disk")

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(me.serve(handle))
        await line.say(delivery(1), delivery(2))
        assert (await line.answer("mail.nack", NACKED))["reason"] == "OSError: disk"
        assert (await line.answer("mail.ack", ACKED))["delivery"] == "d2"
        me.stop()
    assert "the handler failed" in caplog.text


@pytest.mark.parametrize("typed", [True, False])
async def test_a_body_of_another_type_is_buried_and_the_rest_goes_on(
    broker: Stub, typed: bool
) -> None:
    async def handle(mail: Mail[Any]) -> None:
        assert (mail.body if typed else mail.decode(Order)) == Order(2)

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(me.serve(handle, type=Order if typed else None))
        await line.say(delivery(1, [1]), delivery(2, {"number": 2}))
        assert (await line.answer("mail.nack", NACKED))["dead"] is True
        assert (await line.answer("mail.ack", ACKED))["delivery"] == "d2"
        me.stop()


async def test_what_a_handler_settled_is_left_alone(broker: Stub) -> None:
    async def handle(mail: Mail[Any]) -> None:
        await mail.nack("not now", blame=False)

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        serving = tasks.create_task(me.serve(handle))
        await line.say(delivery())
        await line.answer("mail.nack", NACKED)
        me.stop()
        await line.answer("presence.update")
        await serving
        assert line.idle()


async def test_so_many_handlers_at_a_time(broker: Stub) -> None:
    running = 0
    most = 0
    go = asyncio.Event()

    async def handle(mail: Mail[Any]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(me.serve(handle, concurrency=3))
        await line.say(*[delivery(number) for number in range(6)])
        await until(lambda: running == 3)
        go.set()
        for _ in range(6):
            await line.answer("mail.ack", ACKED)
        me.stop()
    assert most == 3


async def test_a_stop_lets_handlers_end_renews_for_them_and_takes_no_more(broker: Stub) -> None:
    go = asyncio.Event()

    async def handle(mail: Mail[Any]) -> None:
        await go.wait()

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        serving = tasks.create_task(me.serve(handle))
        await line.say(delivery(1, lease_ms=1_000), delivery(2))
        await until(lambda: len(me._parts.intake._unread) == 1)
        me.stop()
        back = await line.answer("mail.nack", NACKED)
        assert (back["delivery"], back["blame"]) == ("d2", False)
        assert (await line.answer("presence.update"))["capacity"] == 0
        renewed = await line.answer("mail.extend", extended(60))
        assert renewed["delivery"] == "d1"
        await line.say(delivery(3))
        assert (await line.answer("mail.nack", NACKED))["delivery"] == "d3"
        assert not serving.done()
        go.set()
        while (request := await line.request())["op"] == "mail.extend":
            await line.ok(request, extended(60_000))
        assert request["op"] == "mail.ack"
        assert not serving.done()
        await line.ok(request, ACKED)
        await serving
        with pytest.raises(StopAsyncIteration):
            await anext(me.mail())


async def test_leaving_waits_for_handlers_that_run_elsewhere(broker: Stub) -> None:
    go = asyncio.Event()

    async def handle(mail: Mail[Any]) -> None:
        started.set()
        await go.wait()

    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks, join(broker) as me:
        line = await broker.line()
        tasks.create_task(me.serve(handle))
        await line.say(delivery())
        await started.wait()
        asyncio.get_running_loop().call_soon(go.set)

        async def script() -> list[str]:
            await line.answer("presence.update")
            await line.answer("mail.ack", ACKED)
            return [(await line.request())["op"]]

        said = tasks.create_task(script())
    assert said.result() == ["bye"]


async def test_leaving_does_not_wait_for_ever(broker: Stub) -> None:
    async def handle(mail: Mail[Any]) -> None:
        started.set()
        await anyio.sleep_forever()

    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        async with join(broker, grace=0.01) as me:
            line = await broker.line()
            serving = tasks.create_task(me.serve(handle))
            await line.say(delivery())
            await started.wait()
        assert not serving.done()
        serving.cancel()


async def test_serving_that_is_cancelled_gives_back_without_blame(broker: Stub) -> None:
    async def handle(mail: Mail[Any]) -> None:
        started.set()
        await anyio.sleep_forever()

    started = asyncio.Event()
    async with join(broker) as me:
        line = await broker.line()
        serving = asyncio.ensure_future(me.serve(handle))
        await line.say(delivery())
        await started.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert (await line.answer("mail.nack", NACKED))["blame"] is False


# -- leases and connections ---------------------------------------------------------------------


async def test_everything_held_is_renewed_in_one_message(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(*[delivery(number, lease_ms=600) for number in range(4)])
        in_hand = await anext(me.mail())
        before = len(line.messages)
        renewals = [await line.request("mail.extend") for _ in range(4)]
        assert sorted(one["delivery"] for one in renewals) == ["d0", "d1", "d2", "d3"]
        assert len(line.messages) == before + 1
        await line.say(*[{"re": one["id"], "ok": extended(20)} for one in renewals])
        assert (await line.request("mail.extend"))["delivery"] == in_hand.delivery


async def test_what_is_settled_is_not_renewed(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery(1, lease_ms=1_000), delivery(2, lease_ms=1_200))
        first, _ = [await anext(me.mail()) for _ in range(2)]
        acking = asyncio.ensure_future(first.ack())
        await line.answer("mail.ack", ACKED)
        await acking
        assert (await line.request("mail.extend"))["delivery"] == "d2"


async def test_a_lost_lease_is_told_and_the_next_claim_is_another_mail(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery(1, lease_ms=40))
        old = await anext(me.mail())
        await line.refuse(await line.request("mail.extend"), "stale_claim")
        await line.say(delivery(1, claim="c9", attempt=2))
        new = await anext(me.mail())
        assert old.lost
        assert (new.message, new.claim, new.attempt, new.lost) == ("m1", "c9", 2, False)
        acking = asyncio.ensure_future(old.ack())
        await line.refuse(await line.request("mail.ack"), "stale_claim")
        with pytest.raises(errors.StaleClaim):
            await acking


async def test_a_note_goes_to_the_sender(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        extending = asyncio.ensure_future(mail.extend("half way", lease_ms=5_000))
        request = await line.answer("mail.extend", extended(5_000))
        assert (request["note"], request["lease_ms"]) == ("half way", 5_000)
        assert (await extending).lease_ms == 5_000


async def test_a_claim_that_is_pushed_again_after_a_resume_is_handed_out_once(
    broker: Stub,
) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery(1), delivery(2))
        mail = await anext(me.mail())
        resumes(broker)
        await line.drop()
        line = await broker.line()
        await line.say(delivery(1), delivery(2), delivery(3))
        renewals = {(await line.request("mail.extend"))["delivery"] for _ in range(2)}
        assert renewals == {"d1", "d2"}
        rest = [await anext(me.mail()) for _ in range(2)]
        assert (mail.message, [one.message for one in rest]) == ("m1", ["m2", "m3"])


async def test_an_ack_whose_answer_was_lost_is_sent_again(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        acking = tasks.create_task(mail.ack([{"to": "bob", "body": 1}]))
        await line.request("mail.ack")
        resumes(broker)
        await line.drop()
        line = await broker.line()
        await line.say(delivery())
        again = await line.answer("mail.ack", {**ACKED, "duplicate": True, "outputs": [sent()]})
        assert again["outputs"] == [{"to": "bob", "body": 1}]
    assert acking.result().duplicate


async def test_without_a_resume_what_nobody_has_seen_goes_back(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery(1), delivery(2))
        mail = await anext(me.mail())
        resumes(broker, resumed=False)
        await line.drop()
        line = await broker.line()
        requests = [await line.request() for _ in range(2)]
        assert [(one["op"], one["delivery"]) for one in requests] == [
            ("mail.nack", "d2"),
            ("mail.extend", "d1"),
        ]
        await line.refuse(requests[1], "stale_claim")
        await line.say(delivery(2, claim="c8"))
        assert (await anext(me.mail())).claim == "c8"
        assert mail.lost


async def test_what_can_not_be_read_of_the_broker_is_passed_over(
    broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(
            delivery(1, seq="x"),
            {"ev": "tomorrow", "seq": "x"},
            {"ev": "mail.progress"},
            {"re": 12_345, "ok": {}},
            delivery(2),
        )
        await line.socket.send("[1, 2")
        await line.say(delivery(3))
        assert [(await anext(me.mail())).message for _ in range(2)] == ["m2", "m3"]
        assert me.connected


async def fragments(line: Line, text: str) -> None:
    """Send a message in several WebSocket frames."""

    async def parts() -> AsyncIterator[str]:
        for at in range(0, len(text), 50):
            yield text[at : at + 50]

    await line.socket.send(parts())


async def test_a_message_may_come_in_fragments(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        text = msgspec.json.encode(delivery(body="ä" * 100)).decode()
        await fragments(line, text)
        assert (await anext(me.mail())).body == "ä" * 100
