"""Handlers: what their end means for their mail, how many run, and how serving ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

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
    stub,
    until,
)

from clients import keeper
from clients.errors import Closed, NotDraining
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


class Order(msgspec.Struct):
    """What some handlers want."""

    number: int


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


async def _cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _waits_for_what_is_cancelled() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def _raises() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("end", [_cancels_itself, _waits_for_what_is_cancelled, _raises])
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_handler_that_is_cancelled_gives_back_and_serving_goes_on(
    broker: Stub, end: Callable[[], Coroutine[Any, Any, None]], concurrency: int
) -> None:
    async def handle(mail: Mail[Any]) -> None:
        if mail.message == "m1":
            await end()
        await asyncio.sleep(0)

    async with join(broker) as me:
        line = await broker.line()
        serving = asyncio.ensure_future(me.serve(handle, concurrency=concurrency))
        await line.say(delivery(1))
        given_back = await line.answer("mail.nack", NACKED)
        assert (given_back["delivery"], given_back["blame"]) == ("d1", False)
        await line.say(delivery(2))
        assert (await line.answer("mail.ack", ACKED))["delivery"] == "d2"
        assert not serving.done()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


async def test_who_has_left_serves_no_more(broker: Stub) -> None:
    async with join(broker) as me:
        pass
    with pytest.raises(Closed):
        await me.serve(print)


async def test_what_can_not_serve_is_refused(broker: Stub) -> None:
    async with join(broker) as me:
        with pytest.raises(TypeError, match="7 can't be called"):
            await me.serve(7)
    async with join(broker, observe=True) as me:
        with pytest.raises(NotDraining, match="observer"):
            await me.serve(print)
        with pytest.raises(NotDraining, match="observer"):
            me.mail()
