"""Requests that are begun and not waited for: who is told of their end, when, and of what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from clients_stub import Line, Stub, join, sent, stub

from broker.wire.mail import Sent
from clients import Client, Pending, errors


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


@asynccontextmanager
async def talk(broker: Stub) -> AsyncIterator[tuple[Client, Line]]:
    """A client, and its connection from the broker's side."""
    async with join(broker) as me:
        yield me, await broker.line()


async def test_functions_are_told_in_the_order_of_the_answers(broker: Stub) -> None:
    async with talk(broker) as (me, line):
        told: list[str] = []
        done = asyncio.Event()

        def tell(one: Pending[Sent]) -> None:
            told.append(one.result().message)
            if len(told) == 3:
                done.set()

        for number in range(3):
            me.mail.start_send("bob", number).then(tell)
        requests = [await line.request("mail.send") for _ in range(3)]
        answers = [{"re": requests[place]["id"], "ok": sent(f"m{place}")} for place in (2, 0, 1)]
        await line.say(*answers)
        await done.wait()
        assert told == ["m2", "m0", "m1"]


async def test_one_that_is_over_tells_at_once(broker: Stub) -> None:
    async with talk(broker) as (me, line):
        sending = me.mail.start_send("bob", 1)
        with pytest.raises(RuntimeError, match=r"mail\.send is not answered yet"):
            sending.result()
        await line.answer("mail.send", sent("m1"))
        assert (await sending).message == "m1"
        told: list[Pending[Sent]] = []
        sending.then(told.append)
        assert told == [sending]
        assert sending.over
        assert sending.fault is None
        assert (await sending).message == sending.result().message == "m1"


async def test_several_tasks_may_wait_for_one(broker: Stub) -> None:
    async with talk(broker) as (me, line):
        sending = me.mail.start_send("bob", 1)
        first = asyncio.ensure_future(sending)
        with anyio.move_on_after(0):
            await sending
        both = asyncio.gather(first, sending)
        await line.answer("mail.send", sent("m1"))
        assert [one.message for one in await both] == ["m1", "m1"]


async def test_a_refusal_is_a_result_too(broker: Stub) -> None:
    async with talk(broker) as (me, line):
        sending = me.mail.start_send("bob", 1)
        told: list[Pending[Sent]] = []
        sending.then(told.append)
        await line.refuse(await line.request(), "mailbox_full")
        for _ in range(2):
            with pytest.raises(errors.MailboxFull):
                await sending
        assert told == [sending]
        assert isinstance(sending.fault, errors.MailboxFull)
        with pytest.raises(errors.MailboxFull):
            sending.result()


async def test_a_refusal_that_nobody_waits_for_is_a_warning(
    broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    async with talk(broker) as (me, line):
        me.mail.start_send("nobody", 1)
        await line.refuse(await line.request(), "unknown_recipient")
        me.mail.start_send("bob", 1)
        await line.answer("mail.send", sent("m1"))
        calling = asyncio.ensure_future(me.mail.send("bob", 2))
        await line.answer("mail.send", sent("m2"))
        await calling
        [warning] = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert warning.getMessage().startswith("mail.send, for which nobody waits: ")


async def test_a_function_that_fails_breaks_nothing_else(broker: Stub) -> None:
    async with talk(broker) as (me, line):
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        told: list[Pending[Sent]] = []

        def fail(one: Pending[Sent]) -> None:
            raise ZeroDivisionError(one.result().message)

        sending = me.mail.start_send("bob", 1)
        sending.then(fail)
        sending.then(told.append)
        await line.answer("mail.send", sent("m1"))
        await sending
        assert told == [sending]
        assert [str(one["exception"]) for one in reported] == ["m1"]
        assert "mail.send" in reported[0]["message"]
        again = asyncio.ensure_future(me.mail.send("bob", 2))
        await line.answer("mail.send", sent("m2"))
        assert (await again).message == "m2"


async def test_one_told_may_begin_the_next(broker: Stub) -> None:
    async with talk(broker) as (me, line):
        last: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()

        def go_on(one: Pending[Sent]) -> None:
            two = me.mail.start_send("bob", one.result().message)
            two.then(lambda over: last.set_result(over.result()))

        me.mail.start_send("bob", 0).then(go_on)
        await line.answer("mail.send", sent("m1"))
        request = await line.answer("mail.send", sent("m2"))
        assert request["body"] == "m1"
        assert (await last).message == "m2"


async def test_all_are_over_when_the_client_leaves(broker: Stub) -> None:
    async with join(broker) as me:
        await broker.line()
        sending = me.mail.start_send("bob", 1)
    assert isinstance(sending.fault, errors.PostroomError)
    assert repr(sending) == "<Pending mail.send 1>"
