"""Coming back: what is said at every hello, which ends are final, and leaving in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from clients_stub import ALICE, PATIENCE, Line, Stub, delivery, join, stub, welcome

from clients import Client, Mail, Reconnected, connect, errors, keeper
from clients.conversation import Conversation


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.01)


def resuming(line: Line) -> dict[str, Any]:
    """A welcome that resumes whoever says so, and gives out a new value each time."""
    number = int((line.hello["resume"] or "r0")[1:])
    return {"ok": welcome(resumed=number > 0, resume=f"r{number + 1}")}


async def test_later_hellos_carry_the_resume_value_and_the_session(broker: Stub) -> None:
    broker.greet = resuming
    async with join(broker) as me:
        events = me.events(Reconnected)
        line = await broker.line()
        for number in (1, 2, 3):
            await line.drop()
            line = await broker.line()
            assert line.hello["resume"] == f"r{number}"
            assert line.hello["session"] == "s1"
            event = await anext(events)
            assert isinstance(event, Reconnected)
            assert event.welcome.resumed
            assert me.welcome.resume == f"r{number + 1}"
    assert broker.hellos[0]["resume"] is None


async def test_what_was_changed_since_is_said_again(broker: Stub) -> None:
    async with join(broker, groups=["@team"]) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        for call in (
            me.presence.update(status="working", summary="x", capacity=3),
            me.group.join("#news"),
            me.group.leave("@team"),
            me.peer.watch(on=True, roles=["service"]),
        ):
            asked = tasks.create_task(call)
            await line.ok(await line.request())
            await asked
        await line.drop()
        line = await broker.line()
        said = {name: line.hello[name] for name in ("status", "summary", "capacity", "groups")}
        assert said == {"status": "working", "summary": "x", "capacity": 3, "groups": ["#news"]}
        watched = await line.answer("peer.watch")
        assert (watched["on"], watched["roles"]) == (True, ["service"])


@pytest.mark.parametrize(
    ("code", "kind"),
    [(4401, errors.Unauthorized), (4403, errors.Forbidden), (4409, errors.Replaced)],
)
async def test_some_close_codes_are_final(
    broker: Stub, code: int, kind: type[errors.PostroomError]
) -> None:
    async with join(broker) as me:
        line = await broker.line()
        waiting = asyncio.ensure_future(me.peer.list())
        reading = asyncio.ensure_future(anext(me.mail()))
        hearing = asyncio.ensure_future(anext(me.events()))
        serving = asyncio.ensure_future(me.serve(print))
        await line.request()
        await line.close(code, "why")
        with pytest.raises(errors.ConnectionLost) as unknown:
            await waiting
        assert unknown.value.close_code == code
        for ended in (reading, hearing, serving):
            with pytest.raises(kind, match="why"):
                await ended
        with pytest.raises(kind):
            await me.peer.list()
    assert len(broker.hellos) == 1


@pytest.mark.parametrize("code", [1001, 1011, 4408, 4429])
async def test_other_close_codes_are_not(broker: Stub, code: int) -> None:
    async with join(broker):
        await (await broker.line()).close(code)
        await broker.line()


async def test_without_reconnect_a_loss_is_final_too(broker: Stub) -> None:
    async with join(broker, reconnect=False) as me:
        line = await broker.line()
        waiting = asyncio.ensure_future(me.peer.list())
        await line.request()
        await line.drop()
        with pytest.raises(errors.ConnectionLost):
            await waiting
        with pytest.raises(errors.ConnectionLost):
            await me.peer.list()
    assert len(broker.hellos) == 1


async def test_a_refused_hello_raises_at_once(broker: Stub) -> None:
    error = {"code": "unauthorized", "message": "no", "retryable": False}
    broker.greet = lambda line: {"error": error}
    with pytest.raises(errors.Unauthorized):
        async with join(broker):
            pytest.fail("there is no such client")


@pytest.mark.parametrize("code", ["overloaded", "draining", "unavailable"])
async def test_a_broker_that_takes_nobody_right_now_is_asked_again(broker: Stub, code: str) -> None:
    async with join(broker):
        line = await broker.line()
        error = {"code": code, "message": "no", "retryable": True}
        broker.greet = lambda line: {"error": error}
        await line.drop()
        await broker.line()
        broker.greet = resuming
        while (await broker.line()).hello["resume"] != "r1":
            pass
    assert len(broker.hellos) >= 3


async def test_a_refusal_when_coming_back_is_final(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        error = {"code": "forbidden", "message": "no", "retryable": False}
        broker.greet = lambda line: {"error": error}
        reading = asyncio.ensure_future(anext(me.mail()))
        await line.drop()
        with pytest.raises(errors.Forbidden):
            await reading


async def test_nobody_there_is_unreachable(unused_tcp_port: int) -> None:
    with pytest.raises(errors.Unreachable, match=str(unused_tcp_port)):
        async with connect(f"ws://127.0.0.1:{unused_tcp_port}", **ALICE):
            pytest.fail("there is no such client")


async def test_who_never_answers_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.link.OPEN_SECONDS", 0.02)
    hung_up = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1_000):
            pass
        writer.close()
        hung_up.set()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(errors.Unreachable, match=r"does not answer within 0\.02 s"):
            async with connect(f"ws://127.0.0.1:{port}", **ALICE):
                pytest.fail("there is no such client")
        await hung_up.wait()


async def test_who_does_not_answer_a_hello_is_unreachable(
    broker: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "HELLO_SECONDS", 0.02)
    broker.greet = lambda line: None
    with pytest.raises(errors.Unreachable, match="does not answer a hello"):
        async with join(broker):
            pytest.fail("there is no such client")
    await (await broker.line()).gone.wait()


async def test_who_hangs_up_on_a_hello_is_unreachable(broker: Stub) -> None:
    def hang_up(line: Line) -> None:
        line.socket.transport.abort()

    broker.greet = hang_up
    with pytest.raises(errors.Unreachable, match="did not answer the hello"):
        async with join(broker):
            pytest.fail("there is no such client")


async def test_a_token_that_has_ended_is_unauthorized_by_its_close_code_too(
    broker: Stub,
) -> None:
    broker.greet = lambda line: None
    joining = asyncio.ensure_future(join(broker).__aenter__())
    await (await broker.line()).close(4401, "ended")
    with pytest.raises(errors.Unauthorized, match="ended"):
        await joining


async def test_something_else_there_is_unreachable_and_says_what() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntoo many\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(web, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(errors.Unreachable, match="HTTP 503 too many"):
            async with connect(f"ws://127.0.0.1:{port}", **ALICE):
                pytest.fail("there is no such client")


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1", "ws://"])
async def test_a_url_that_is_none_is_a_mistake_of_the_caller(url: str) -> None:
    with pytest.raises(ValueError, match="no WebSocket address"):
        async with connect(url, **ALICE):
            pytest.fail("there is no such client")


async def test_the_endpoint_may_be_left_out(broker: Stub) -> None:
    async with connect(broker.url.removesuffix("/v1"), **ALICE):
        line = await broker.line()
        assert line.socket.request is not None
        assert line.socket.request.path == "/v1"


async def test_leaving_says_bye_and_closes(broker: Stub) -> None:
    async with join(broker):
        line = await broker.line()
    assert (await line.request("bye")).get("final") is None
    await line.gone.wait()
    assert line.socket.close_code == 1000


async def test_a_final_bye_is_asked_for(broker: Stub) -> None:
    async with join(broker, final=True):
        line = await broker.line()
    assert (await line.request("bye"))["final"] is True


async def test_leaving_may_say_nothing_so_that_another_takes_it_up(broker: Stub) -> None:
    broker.greet = resuming
    async with join(broker, final=None) as me:
        line = await broker.line()
    await line.gone.wait()
    assert line.idle()
    async with join(broker, session=me.welcome.session, resume=me.welcome.resume) as again:
        assert again.welcome.resumed


async def test_a_broker_that_does_not_answer_holds_nobody_up(
    broker: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.client.LEAVE_SECONDS", 0.01)
    broker.says_bye = False
    async with asyncio.timeout(PATIENCE), join(broker):
        line = await broker.line()
    await line.request("bye")


async def test_what_the_block_raises_comes_out_as_it_is(broker: Stub) -> None:
    async def work() -> None:
        async with join(broker):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await work()
    await (await broker.line()).request("bye")


async def test_a_cancelled_block_says_bye_too(broker: Stub) -> None:
    inside = asyncio.Event()

    async def stay() -> None:
        async with join(broker):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stay())
    await inside.wait()
    line = await broker.line()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await line.request("bye")


async def test_who_is_cancelled_while_leaving_is_gone_all_the_same(broker: Stub) -> None:
    broker.says_bye = False
    inside: asyncio.Future[Client] = asyncio.get_running_loop().create_future()

    async def stay() -> None:
        async with join(broker) as me:
            inside.set_result(me)
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stay())
    me = await inside
    line = await broker.line()
    listing = asyncio.ensure_future(me.peer.list())
    await line.request("peer.list")
    task.cancel()
    await line.request("bye")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(errors.Closed):
        await listing
    with pytest.raises(errors.Closed):
        await me.mail.send("bob", 1)
    async with asyncio.timeout(PATIENCE):
        await line.gone.wait()


@pytest.mark.parametrize("resume", [None, "r1"])
async def test_who_is_cancelled_before_the_welcome_leaves_no_presence_that_was_not_there(
    broker: Stub, resume: str | None
) -> None:
    broker.greet = lambda line: None

    async def arrive() -> None:
        async with join(broker, resume=resume):
            raise AssertionError("nobody was welcomed")

    task = asyncio.ensure_future(arrive())
    line = await broker.line()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if resume is None:
        await line.request("bye")
    async with asyncio.timeout(PATIENCE):
        await line.gone.wait()
    assert line.idle()


@pytest.mark.parametrize(
    ("resume", "resumed", "leaves"), [(None, False, True), ("r1", False, True), ("r1", True, False)]
)
async def test_who_is_cancelled_in_the_moment_of_the_welcome_leaves_what_was_there(
    broker: Stub,
    monkeypatch: pytest.MonkeyPatch,
    resume: str | None,
    resumed: bool,
    leaves: bool,
) -> None:
    broker.greet = lambda line: {"ok": welcome(resumed=resumed, resume="r2")}
    answered = Conversation._answered_hello

    def and_cancel(talk: Conversation, *reply: Any) -> None:
        answered(talk, *reply)
        task.cancel()

    monkeypatch.setattr(Conversation, "_answered_hello", and_cancel)

    async def arrive() -> None:
        async with join(broker, resume=resume):
            raise AssertionError("nobody was welcomed")

    task = asyncio.ensure_future(arrive())
    line = await broker.line()
    with pytest.raises(asyncio.CancelledError):
        await task
    if leaves:
        await line.request("bye")
    async with asyncio.timeout(PATIENCE):
        await line.gone.wait()
    assert line.idle()


async def test_leaving_while_there_is_no_connection_ends_the_attempts(
    broker: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 600.0)
    async with join(broker) as me:
        await (await broker.line()).drop()
        waiting = asyncio.ensure_future(me.peer.list())
    with pytest.raises(errors.Closed):
        await waiting
    assert len(broker.hellos) == 1


async def test_a_silent_broker_is_noticed_and_resumed(broker: Stub) -> None:
    broker.greet = lambda line: {"ok": welcome(lease_ms=200)}
    async with join(broker):
        line = await broker.line()
        line.socket.transport.pause_reading()
        again = await broker.line()
        assert again.hello["resume"] == "r1"
        line.socket.transport.abort()


async def test_no_task_is_left_behind(broker: Stub) -> None:
    before = asyncio.all_tasks()
    async with join(broker) as me:
        line = await broker.line()
        await line.say(delivery())
        await anext(me.mail())
        assert len(asyncio.all_tasks() - before - {line.socket.keepalive_task}) <= 3
    await line.gone.wait()
    left = {task for task in asyncio.all_tasks() - before if "clients" in repr(task.get_coro())}
    assert not left


async def test_leaving_within_a_cancelled_scope_says_bye_though_a_handler_runs(
    broker: Stub,
) -> None:
    async def handle(mail: Mail[Any]) -> None:
        started.set()
        await anyio.sleep_forever()

    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        with anyio.CancelScope() as scope:
            async with join(broker) as me:
                line = await broker.line()
                serving = tasks.create_task(me.serve(handle))
                await line.say(delivery())
                await started.wait()
                scope.cancel()
                await anyio.sleep_forever()
        serving.cancel()
    said = [(await line.request())["op"] for _ in range(2)]
    assert said == ["presence.update", "bye"]


def test_attempts_spread_out_up_to_a_bound() -> None:
    for attempt in (0, 3, 50):
        waits = [keeper.wait_seconds(attempt) for _ in range(200)]
        bound = min(keeper.MOST_SECONDS, keeper.FIRST_SECONDS * 2**attempt)
        assert all(0 <= wait <= bound for wait in waits)
        assert min(waits) < bound / 4
        assert max(waits) > bound * 3 / 4


async def test_two_blocks_with_one_stack_are_independent(broker: Stub) -> None:
    async with join(broker) as first, join(broker) as second:
        assert isinstance(first, Client)
        assert first is not second
        await (await broker.line()).close(4409)
        call = asyncio.ensure_future(second.peer.list())
        await (await broker.line()).answer("peer.list", {"peers": [], "hidden": {}})
        await call


async def test_nothing_secret_is_logged(broker: Stub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="postroom")
    async with join(broker, token="prm_1_secret") as me:
        line = await broker.line()
        await line.say(delivery(body="private"))
        mail = await anext(me.mail())
        await line.drop()
        await broker.line()
        assert "private" not in repr(mail)
    assert "secret" not in caplog.text
    assert "private" not in caplog.text


async def test_each_attempt_waits_by_its_number(
    broker: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def wait(attempt: int) -> float:
        asked.append(attempt)
        return 0.0

    monkeypatch.setattr(keeper, "wait_seconds", wait)
    busy = {"error": {"code": "unavailable", "message": "no", "retryable": True}}
    async with join(broker):
        line = await broker.line()
        broker.greet = lambda _: busy if len(broker.hellos) < 4 else {"ok": welcome()}
        await line.drop()
        for _ in range(3):
            line = await broker.line()
    assert asked[:3] == [0, 1, 2]
