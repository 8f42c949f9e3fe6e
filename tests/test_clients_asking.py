"""Questions: what an asker sees between sending one and having its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from clients_stub import (
    ACKED,
    NACKED,
    Frame,
    Line,
    Stub,
    delivery,
    join,
    sent,
    stub,
    until,
    welcome,
)

from clients import Answered, Queued, Working, errors, keeper


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.01)
    # Some scripts end without an answer to the last ack.
    monkeypatch.setattr("clients.client.LEAVE_SECONDS", 0.2)


def copy(depth: int | None, number: int = 1) -> Frame:
    """A copy of the question, queued so deep, or held by somebody."""
    return {
        "delivery": f"d{number}",
        "to": "bob",
        "state": "claimed" if depth is None else "queued",
        "queued": depth is not None,
        "depth": depth or 0,
        "transport": "online",
    }


def receipt(state: str, number: int = 1, reason: str | None = None) -> Frame:
    body = {"message": "m1", "delivery": f"d{number}", "to": "bob", "state": state}
    return delivery(
        900 + number, {**body, "reason": reason}, kind="receipt", **{"from": "postroom"}
    )


def answer(number: int = 50, body: Any = "yes", **fields: Any) -> Frame:
    return delivery(number, body, **{"reply_to": "m1", "kind": "message", **fields})


async def settled(line: Line, *deliveries: str) -> None:
    """What is taken for a question is acked by itself."""
    for name in deliveries:
        assert (await line.answer("mail.ack", ACKED))["delivery"] == name


async def test_an_answer_comes_back_to_who_asked(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        asking = tasks.create_task(me.ask("bob", {"q": 1}, kind="riddle", type=str))
        request = await line.answer("mail.send", sent("m1"))
        assert (request["to"], request["body"], request["kind"]) == ("bob", {"q": 1}, "riddle")
        assert request["receipt"] is True
        assert request["key"]
        await line.say(delivery(1), answer())
        await settled(line, "d50")
        mail = await asking
        assert (mail.body, mail.sender, mail.reply_to) == ("yes", "bob", "m1")
        assert (await anext(me.mail())).message == "m1"


@pytest.mark.parametrize("name", ["timeout", "repeat"])
async def test_a_question_takes_no_field_of_its_send(broker: Stub, name: str) -> None:
    async with join(broker) as me:
        with pytest.raises(TypeError, match=f"a question takes no {name}"):
            me.asking("bob", 1, **{name: 1})


@pytest.mark.parametrize("given", [{"observe": True}, {"capacity": 0}])
async def test_who_takes_no_mail_can_not_ask(broker: Stub, given: dict[str, Any]) -> None:
    async with join(broker, **given) as me:
        line = await broker.line()
        with pytest.raises(errors.NotDraining):
            await me.ask("bob", 1)
        with pytest.raises(errors.NotDraining):
            await anext(me.asking("bob", 1))
        assert line.idle()


async def test_the_steps_of_a_question(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        question = me.asking("bob", 1, look_seconds=0.01, type=str)
        step = asyncio.ensure_future(anext(question))
        first = await line.answer("mail.send", sent("m1", deliveries=[copy(3)]))
        assert await step == Queued(3)
        assert question.message == "m1"

        step = asyncio.ensure_future(anext(question))
        await line.answer("mail.send", sent("m1", deliveries=[copy(3)], duplicate=True))
        again = await line.answer("mail.send", sent("m1", deliveries=[copy(1)], duplicate=True))
        assert (again["key"], again["body"]) == (first["key"], first["body"])
        assert await step == Queued(1)

        step = asyncio.ensure_future(anext(question))
        await line.answer("mail.send", sent("m1", deliveries=[copy(None)], duplicate=True))
        assert await step == Working()

        note = {"ev": "mail.progress", "message": "m1", "delivery": "d1", "mailbox": "bob"}
        await line.say({**note, "message": "m77", "note": "x"}, {**note, "note": "half way"})
        assert await anext(question) == Working("half way")

        await line.say(answer())
        last = await anext(question)
        assert isinstance(last, Answered)
        assert (last.body, last.mail.message) == ("yes", "m50")
        await settled(line, "d50")
        with pytest.raises(StopAsyncIteration):
            await anext(question)


async def test_a_time_out_leaves_the_question_standing_and_it_can_be_cancelled(
    broker: Stub,
) -> None:
    async with join(broker) as me:
        line = await broker.line()
        asking = asyncio.ensure_future(me.ask("bob", 1, timeout=0.5))
        await line.answer("mail.send", sent("m1", deliveries=[copy(2)]))
        with pytest.raises(TimeoutError, match="m1") as caught:
            await asking
        assert isinstance(caught.value, errors.AskTimedOut)
        assert caught.value.message == "m1"
        cancelling = asyncio.ensure_future(caught.value.cancel())
        request = await line.answer("mail.cancel", {"cancelled": 1, "too_late": 0})
        assert request["message"] == "m1"
        assert (await cancelling).cancelled == 1
        await line.say(receipt("cancelled"))
        await settled(line, "d901")
        await line.say(answer(51))
        assert (await anext(me.mail())).message == "m51"


async def test_a_question_whose_sending_was_not_heard_of_can_be_cancelled(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        asking = asyncio.ensure_future(me.ask("bob", 1, timeout=0.02))
        first = await line.request("mail.send")
        with pytest.raises(errors.AskTimedOut) as caught:
            await asking
        cancelling = asyncio.ensure_future(caught.value.cancel())
        again = await line.answer("mail.send", sent("m1", duplicate=True))
        assert again["key"] == first["key"]
        await line.answer("mail.cancel", {"cancelled": 1, "too_late": 0})
        await cancelling


@pytest.mark.parametrize("state", ["dead", "expired", "cancelled"])
async def test_a_question_that_ends_unanswered_says_so(broker: Stub, state: str) -> None:
    async with join(broker) as me:
        line = await broker.line()
        asking = asyncio.ensure_future(me.ask("bob", 1))
        await line.answer("mail.send", sent("m1"))
        await line.say(receipt(state, reason="why"))
        with pytest.raises(errors.Undelivered, match=f"m1 ended unanswered: {state}") as caught:
            await asking
        assert (caught.value.state, caught.value.reason) == (state, "why")
        await settled(line, "d901")


async def test_a_question_to_many_lives_as_long_as_one_copy(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        asking = tasks.create_task(me.ask("@team", 1))
        copies = [copy(None, 1), copy(0, 2), copy(0, 3)]
        await line.answer("mail.send", sent("m1", total=3, deliveries=copies))
        await line.say(receipt("dead", 1), receipt("acked", 2), answer())
        await settled(line, "d901", "d902", "d50")
        assert (await asking).message == "m50"
        await line.say(receipt("acked", 3), answer(52))
        await settled(line, "d903")
        assert (await anext(me.mail())).message == "m52"


async def test_a_question_to_nobody_is_over_at_once(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        asking = asyncio.ensure_future(me.ask("@empty", 1))
        await line.answer("mail.send", sent("m1", total=0, deliveries=[]))
        with pytest.raises(errors.Undelivered, match="nobody"):
            await asking


async def test_a_question_that_is_refused_raises_the_refusal(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        asking = asyncio.ensure_future(me.ask("nobody", 1))
        await line.refuse(await line.request("mail.send"), "unknown_recipient")
        with pytest.raises(errors.UnknownRecipient):
            await asking
        await line.say(answer())
        assert (await anext(me.mail())).message == "m50"


async def test_an_answer_may_overtake_the_answer_to_the_sending(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        asking = tasks.create_task(me.ask("bob", 1))
        request = await line.request("mail.send")
        await line.say(answer(), answer(51, reply_to="m5"), receipt("acked"))
        await line.ok(request, sent("m1"))
        await settled(line, "d50")
        assert (await asking).message == "m50"
        later = {(await anext(me.mail())).message for _ in range(1)}
        assert later == {"m51"}
        await settled(line, "d901")


async def test_a_question_outlives_a_lost_connection(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        asking = tasks.create_task(me.ask("bob", 1))
        first = await line.request("mail.send")
        broker.greet = lambda line: {"ok": welcome(resumed=True)}
        await line.drop()
        line = await broker.line()
        again = await line.answer("mail.send", sent("m1", duplicate=True))
        assert again["key"] == first["key"]
        await line.drop()
        line = await broker.line()
        await line.say(answer())
        await settled(line, "d50")
        assert (await asking).body == "yes"


async def test_there_is_room_for_an_answer_behind_unread_mail(broker: Stub) -> None:
    async with join(broker, capacity=2) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.say(delivery(1), delivery(2))
        (in_hand,) = [await anext(me.mail())]
        asking = tasks.create_task(me.ask("bob", 1))
        said = [await line.request() for _ in range(2)]
        assert [one["op"] for one in said] == ["presence.update", "mail.send"]
        assert said[0]["capacity"] == 4
        await line.ok(said[1], sent("m1"))
        await line.say(delivery(3), delivery(4))
        assert (await line.request("presence.update"))["capacity"] == 8
        await line.say(answer())
        back = [await line.request() for _ in range(2)]
        assert {one["op"] for one in back} == {"mail.ack", "presence.update"}
        assert [one["capacity"] for one in back if "capacity" in one] == [2]
        assert (await asking).message == "m50"
        assert in_hand.message == "m1"


async def test_a_handler_may_ask_after_a_stop(broker: Stub) -> None:
    stopped = asyncio.Event()
    answers: list[Any] = []

    async with join(broker) as me, asyncio.TaskGroup() as tasks:

        async def handle(mail: Any) -> None:
            await stopped.wait()
            answers.append((await me.ask("bob", 1)).body)

        line = await broker.line()
        tasks.create_task(me.serve(handle))
        await line.say(delivery(1))
        await until(lambda: len(me._parts.intake.holding))
        me.stop()
        assert (await line.answer("presence.update"))["capacity"] == 0
        stopped.set()
        assert (await line.answer("presence.update"))["capacity"] == 32
        await line.answer("mail.send", sent("m1"))
        await line.say(answer(), delivery(2))
        requests = [await line.request() for _ in range(4)]
        for request in requests:
            await line.ok(request, NACKED if request["op"] == "mail.nack" else ACKED)
        said = {(one["op"], one.get("delivery"), one.get("capacity")) for one in requests}
        assert said == {
            ("mail.ack", "d50", None),
            ("presence.update", None, 0),
            ("mail.nack", "d2", None),
            ("mail.ack", "d1", None),
        }
    assert answers == ["yes"]


async def test_a_question_fails_when_there_will_be_no_other_connection(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        asking = asyncio.ensure_future(me.ask("bob", 1))
        await line.answer("mail.send", sent("m1"))
        await line.close(4409)
        with pytest.raises(errors.Replaced):
            await asking


async def test_the_body_of_an_answer_is_decoded_as_asked(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        asking = tasks.create_task(me.ask("bob", 1, type=dict[str, int]))
        await line.answer("mail.send", sent("m1"))
        await line.say(answer(body={"a": "x"}))
        mail = await asking
        with pytest.raises(errors.BodyUnreadable):
            _ = mail.body
        assert msgspec.json.decode(mail.raw) == {"a": "x"}


async def test_a_question_that_is_called_back_on_its_way_is_nowhere_any_more(
    broker: Stub,
) -> None:
    async with join(broker) as me:
        line = await broker.line()
        question = me.asking("bob", 1)
        asking = asyncio.ensure_future(question.answer())
        first = await line.request("mail.send")
        cancelling = asyncio.ensure_future(question.cancel())
        second = await line.request("mail.send")
        assert second["key"] == first["key"]
        await line.ok(first, sent())
        await line.ok(second, sent(duplicate=True))
        await line.answer("mail.cancel", {"cancelled": 1, "too_late": 0})
        assert (await cancelling).cancelled == 1
        with pytest.raises(errors.Undelivered) as told:
            await asyncio.wait_for(asking, 10)
        assert told.value.state == "cancelled"
        assert me._parts.intake.questions.open == 0
