"""What a client holds: renewed, handed out once, and what a lost connection does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from clients_stub import (
    ACKED,
    Line,
    Stub,
    delivery,
    extended,
    join,
    sent,
    stub,
    welcome,
)

from clients import Mail, errors, keeper


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.01)
    # Some scripts end without an answer to the last ack.
    monkeypatch.setattr("clients.client.LEAVE_SECONDS", 0.2)


def resumes(broker: Stub, *, resumed: bool = True) -> None:
    """Let the next hello find the presence as it was, or gone."""
    broker.greet = lambda line: {"ok": welcome(resumed=resumed, resume="r2")}


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


async def test_an_ack_is_sent_again_though_nobody_waits_for_it_any_more(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        mail = await anext(me.mail())
        acking = asyncio.ensure_future(mail.ack())
        await line.request("mail.ack")
        acking.cancel()
        resumes(broker)
        await line.drop()
        line = await broker.line()
        await line.answer("mail.ack", ACKED)
    assert mail.settled


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


async def test_a_quiet_ack_that_the_broker_cannot_do_now_is_asked_for_again(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(me.serve(lambda mail: None))
        await line.say(delivery(1))
        await line.refuse(
            await line.request("mail.ack"), "unavailable", retryable=True, retry_after_ms=1
        )
        again = await line.request("mail.ack")
        assert (again["delivery"], again["claim"]) == ("d1", "c1")
        await line.ok(again, ACKED)
        me.stop()


async def test_a_quiet_ack_that_is_refused_for_good_lets_the_mail_go(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        handled: list[Mail[Any]] = []
        tasks.create_task(me.serve(handled.append))
        await line.say(delivery(1, lease_ms=200), delivery(2, lease_ms=200))
        first, second = [await line.request("mail.ack") for _ in range(2)]
        await line.refuse(first, "internal")
        assert (await line.request("mail.extend"))["delivery"] == "d2"
        assert [mail.lost for mail in handled] == [True, False]
        await line.ok(second, ACKED)
        me.stop()
