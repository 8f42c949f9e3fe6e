"""Requests of the client: calls, answers, refusals, and what a lost connection does to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from clients_stub import Stub, delivery, join, sent, stub, welcome

from broker.wire.errors import CODES
from broker.wire.mail import Send
from broker.wire.presence import ListPeers, Peers
from clients import Client, errors


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


async def test_the_hello_says_what_was_given(broker: Stub) -> None:
    async with join(
        broker,
        session="s1",
        status="working",
        summary="busy",
        groups=["@team"],
        capacity=4,
        host="box1",
    ) as me:
        line = await broker.line()
        assert me.welcome.address == me.address == "alice/s1"
    hello = line.hello
    assert hello.pop("client")["name"] == "postroom-python"
    assert hello == {
        "op": "hello",
        "id": 0,
        "mesh": "default",
        "member": "alice",
        "token": "t",
        "role": "session",
        "session": "s1",
        "observe": False,
        "status": "working",
        "summary": "busy",
        "groups": ["@team"],
        "capacity": 4,
        "batch": True,
        "resume": None,
        "host": "box1",
    }


async def test_an_operation_is_called_in_three_ways_with_one_answer(broker: Stub) -> None:
    peers: dict[str, Any] = {
        "peers": [],
        "hidden": {"control-plane": 2},
        "next": None,
        "later": "field",
    }

    async def serve() -> list[dict[str, Any]]:
        line = await broker.line()
        return [await line.answer("peer.list", peers) for _ in range(3)]

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(serve())
        answers = [
            await me.call("peer.list", roles=["session"]),
            await me.call(ListPeers(roles=["session"])),
            await me.peer.list(roles=["session"]),
        ]
    assert answers == [Peers(peers=[], hidden={"control-plane": 2})] * 3
    assert [request["roles"] for request in asked.result()] == [["session"]] * 3
    assert [request["id"] for request in asked.result()] == [1, 2, 3]


async def test_the_frames_of_one_turn_leave_as_one_message(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        sends = [tasks.create_task(me.mail.send("bob", number)) for number in range(3)]
        requests = [await line.request("mail.send") for _ in sends]
        assert [request["body"] for request in requests] == [0, 1, 2]
        assert len(line.messages) == 2
        await line.say(*[{"re": request["id"], "ok": sent()} for request in reversed(requests)])
    assert all(send.result().message == "m1" for send in sends)


async def test_positional_arguments_are_the_required_fields(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        joined = tasks.create_task(me.group.join("@team", label="x"))
        request = await line.answer("group.join")
        await joined
    assert request == {"op": "group.join", "id": 1, "group": "@team", "label": "x"}


async def test_a_body_that_is_json_already_stays_byte_for_byte(broker: Stub) -> None:
    import msgspec

    body = msgspec.Raw(b'{"a": 1.0, "a":2}')
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(me.mail.send("bob", body))
        tasks.create_task(me.call(Send(to="bob", body=body, id=99)))
        first = await line.answer("mail.send", sent())
        second = await line.answer("mail.send", sent())
    assert '"body":{"a": 1.0, "a":2}' in line.messages[1]
    assert (first["id"], second["id"]) == (1, 2)


async def test_wrong_arguments_never_reach_the_broker(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        with pytest.raises(TypeError, match=r"peer\.list takes no colour"):
            await me.peer.list(colour="red")
        with pytest.raises(TypeError, match=r"group\.join needs group"):
            await me.group.join()
        with pytest.raises(TypeError, match=r"group\.join got group twice"):
            await me.group.join("@a", group="@b")
        with pytest.raises(TypeError, match="takes 1 positional"):
            await me.group.join("@a", "@b")
        with pytest.raises(TypeError, match="unsupported"):
            await me.mail.send("bob", object())
        with pytest.raises(TypeError, match="no further fields"):
            await me.call(ListPeers(), roles=[])
        with pytest.raises(ValueError, match=r"no operation 'mail\.burn'"):
            await me.call("mail.burn")
        assert line.idle()


@pytest.mark.parametrize("code", sorted(CODES))
async def test_each_code_has_an_exception(broker: Stub, code: str) -> None:
    kind = getattr(errors, errors.class_name(code))
    async with join(broker) as me:
        line = await broker.line()
        call = asyncio.ensure_future(me.peer.list())
        detail = {"mailbox": "bob"}
        await line.refuse(
            await line.request(), code, retryable=True, retry_after_ms=7, detail=detail
        )
        with pytest.raises(kind) as caught:
            await call
    refusal: errors.Refused = caught.value
    assert isinstance(refusal, errors.Refused)
    assert (refusal.code, refusal.message, refusal.op) == (code, "no", "peer.list")
    assert (refusal.retryable, refusal.retry_after_ms, refusal.detail) == (True, 7, detail)


async def test_a_code_of_a_later_version_is_a_plain_refusal(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        call = asyncio.ensure_future(me.peer.list())
        await line.refuse(await line.request(), "too_early")
        with pytest.raises(errors.Refused, match="too_early: no") as caught:
            await call
    assert type(caught.value) is errors.Refused


async def test_an_answer_that_can_not_be_read_fails_its_call_alone(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        bad = asyncio.ensure_future(me.peer.list())
        good = tasks.create_task(me.peer.list())
        first, second = await line.request(), await line.request()
        fine: dict[str, Any] = {"peers": [], "hidden": {}}
        await line.say({"re": first["id"], "ok": {"peers": 1}}, {"re": second["id"], "ok": fine})
        with pytest.raises(errors.ProtocolFault, match=r"peer\.list can't be read"):
            await bad
        await good


async def test_what_waits_at_a_lost_connection_fails_unless_it_may_be_repeated(
    broker: Stub,
) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        lost = asyncio.ensure_future(me.mail.send("bob", 1))
        kept = tasks.create_task(me.mail.send("bob", 2, key="k2", repeat=True))
        assert (await line.request())["body"] == 1
        assert (await line.request())["body"] == 2
        await line.drop()
        with pytest.raises(errors.ConnectionLost, match=r"before mail\.send was answered"):
            await lost
        late = tasks.create_task(me.mail.send("bob", 3))
        again = await broker.line()
        repeated = await again.answer("mail.send", sent(duplicate=True))
        assert (repeated["body"], repeated["key"]) == (2, "k2")
        assert (await again.answer("mail.send", sent()))["body"] == 3
    assert kept.result().duplicate
    assert late.result().message == "m1"


async def test_a_repeated_send_outlives_a_draining_broker(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(me.mail.send("bob", 1, key="k", repeat=True))
        await line.refuse(await line.request(), "draining", retryable=True)
        await line.close(1001, "going away")
        await (await broker.line()).answer("mail.send", sent())


async def test_only_what_the_broker_can_recognise_is_repeated(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        with pytest.raises(ValueError, match=r"mail\.send can't be repeated safely without a key"):
            await me.mail.send("bob", 1, repeat=True)
        with pytest.raises(ValueError, match=r"delegation\.open can't be repeated"):
            await me.delegation.open("bob", 1, repeat=True)
        with pytest.raises(ValueError, match=r"member\.add can't be repeated safely$"):
            await me.member.add("bob", repeat=True)
        assert line.idle()


async def test_a_request_over_the_frame_limit_is_refused_here(broker: Stub) -> None:
    broker.greet = lambda line: {"ok": welcome(limits={"frame": 1_000})}
    async with join(broker) as me:
        line = await broker.line()
        with pytest.raises(errors.TooLarge):
            await me.mail.send("bob", "x" * 1_000)
        await line.say(delivery())
        (mail,) = [await anext(me.mail())]
        with pytest.raises(errors.TooLarge):
            await mail.reply("x" * 1_000)
        assert not mail.settled
        assert line.idle()


async def test_a_call_may_have_a_time_out(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        with pytest.raises(TimeoutError):
            await me.peer.list(timeout=0.01)
        late = await line.request()
        await line.ok(late, {"peers": [], "hidden": {}})
        call = asyncio.ensure_future(me.peer.list())
        await line.answer("peer.list", {"peers": [], "hidden": {}})
        await call


async def test_after_the_end_nothing_can_be_asked(broker: Stub) -> None:
    async with join(broker) as me:
        pass
    with pytest.raises(errors.Closed):
        await me.peer.list()
    with pytest.raises(StopAsyncIteration):
        await anext(me.mail())
    assert isinstance(me, Client)
    assert not me.connected
