"""Leased dispatches: renewed while the body runs, consumed at its end, failed if it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from clients_stub import Frame, Line, Stub, join, sent, stub, until

from clients import Work, errors, keeper

FINISHED: Frame = {"status": "consumed", "duplicate": False}
IDENTITY = {
    "agent_type": "Super-Admin",
    "dag_task_id": "TASK-1",
    "prompt_sha256": "a" * 64,
    "parent_session_id": "ses_parent",
}


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


def leased(lease_ms: int = 60_000) -> Frame:
    return {
        "dispatch": "w1",
        "dispatch_key": "k" * 64,
        "prompt": "do it",
        "prompt_sha256": "a" * 64,
        "context": {"branch": "main"},
        "attempt": 2,
        "lease_token": "t1",
        "lease_ms": lease_ms,
        "lease_expires_at": 1,
    }


def renewed(lease_ms: int = 60_000) -> Frame:
    return {"lease_ms": lease_ms, "lease_expires_at": 1}


async def fields(line: Line, op: str, answer: Frame = FINISHED) -> Frame:
    """The fields of the next request, which is done."""
    request = await line.answer(op, answer)
    return {name: value for name, value in request.items() if name not in ("op", "id")}


async def test_work_is_leased_by_its_key_and_consumed_with_its_outcome(broker: Stub) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease("k" * 64, lease_ms=60_000) as one:
            assert isinstance(one, Work)
            assert (one.dispatch, one.key, one.attempt) == ("w1", "k" * 64, 2)
            assert (one.prompt, one.context) == ("do it", {"branch": "main"})
            assert one.context_as(dict[str, str]) == {"branch": "main"}
            one.outcome = {"done": True}

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        asked = await fields(line, "dispatch.lease", leased())
        assert asked.pop("call_id")
        assert asked == {"dispatch_key": "k" * 64, "lease_ms": 60_000}
        assert await fields(line, "dispatch.consume") == {
            "dispatch": "w1",
            "lease_token": "t1",
            "outcome": {"done": True},
        }


async def test_without_an_outcome_none_is_given(broker: Stub) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease(**IDENTITY, call_id="c1"):
            pass

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        assert await fields(line, "dispatch.lease", leased()) == {**IDENTITY, "call_id": "c1"}
        assert "outcome" not in await fields(line, "dispatch.consume")


async def test_a_body_that_raises_fails_the_dispatch(broker: Stub) -> None:
    async def work(me: Any) -> None:
        with pytest.raises(ValueError, match="broken"):
            async with me.dispatch.lease("k"):
                raise ValueError("broken")

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        await line.answer("dispatch.lease", leased())
        assert await fields(line, "dispatch.fail") == {
            "dispatch": "w1",
            "lease_token": "t1",
            "reason": "ValueError",
            "error": "broken",
            "retryable": False,
        }


async def test_a_body_that_is_cancelled_leaves_it_to_another_attempt(broker: Stub) -> None:
    async def work(me: Any) -> None:
        with anyio.move_on_after(0.02) as scope:
            async with me.dispatch.lease("k"):
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        await line.answer("dispatch.lease", leased())
        failed = await fields(line, "dispatch.fail")
        assert (failed["reason"], failed["retryable"]) == ("interrupted", True)


async def test_a_lease_that_nobody_waits_for_is_given_back_when_it_comes(broker: Stub) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease("k"):
            pytest.fail("it was cancelled before")

    async with join(broker) as me:
        line = await broker.line()
        working = asyncio.ensure_future(work(me))
        asked = await line.request("dispatch.lease")
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        await line.ok(asked, leased())
        failed = await fields(line, "dispatch.fail")
        assert failed == {
            "dispatch": "w1",
            "lease_token": "t1",
            "reason": "interrupted",
            "retryable": True,
        }


async def test_a_lease_under_a_call_id_of_the_applications_stays_for_its_next_call(
    broker: Stub,
) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        first = asyncio.ensure_future(me.dispatch.lease("k", call_id="c1"))
        asked = await line.request("dispatch.lease")
        first.cancel()
        await line.ok(asked, leased())
        again = tasks.create_task(_taken(me))
        assert (await fields(line, "dispatch.lease", leased()))["call_id"] == "c1"
        await again
        assert line.idle()


async def _taken(me: Any) -> None:
    await me.dispatch.lease("k", call_id="c1")


async def test_a_lease_that_was_not_asked_for_yet_never_is(
    broker: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.01)
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        await line.drop()
        await until(lambda: not me.connected)
        asking = asyncio.ensure_future(me.dispatch.lease("k"))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        line = await broker.line()
        tasks.create_task(me.mail.send("bob", 1))
        await line.answer("mail.send", sent())


async def test_an_outcome_that_is_no_json_fails_the_dispatch(broker: Stub) -> None:
    async def work(me: Any) -> None:
        with pytest.raises(TypeError):
            async with me.dispatch.lease("k") as one:
                one.outcome = object()

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        await line.answer("dispatch.lease", leased())
        failed = await fields(line, "dispatch.fail")
        assert (failed["reason"], failed["retryable"]) == ("TypeError", False)


async def test_the_body_may_end_it_itself(broker: Stub) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease("k") as one:
            await one.fail("bad input", error="why", retryable=True)
        async with me.dispatch.lease("k") as one:
            await one.consume([1])

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        await line.answer("dispatch.lease", leased())
        failed = await fields(line, "dispatch.fail")
        assert (failed["reason"], failed["error"], failed["retryable"]) == (
            "bad input",
            "why",
            True,
        )
        await line.answer("dispatch.lease", leased())
        assert (await fields(line, "dispatch.consume"))["outcome"] == [1]


async def test_a_lease_is_renewed_while_the_body_runs(broker: Stub) -> None:
    go = asyncio.Event()

    async def work(me: Any) -> None:
        async with me.dispatch.lease("k"):
            await go.wait()

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        await line.answer("dispatch.lease", leased(40))
        for _ in range(2):
            asked = await fields(line, "dispatch.renew", renewed(40))
            assert asked == {"dispatch": "w1", "lease_token": "t1"}
        await line.refuse(await line.request("dispatch.renew"), "unavailable", retryable=True)
        await line.answer("dispatch.renew", renewed())
        go.set()
        await line.answer("dispatch.consume", FINISHED)


@pytest.mark.parametrize("code", ["stale_lease", "lease_expired"])
async def test_a_lost_lease_cancels_the_body(broker: Stub, code: str) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease("k") as one:
            try:
                await anyio.sleep_forever()
            finally:
                assert one.lost

    async with join(broker) as me:
        line = await broker.line()
        working = asyncio.ensure_future(work(me))
        await line.answer("dispatch.lease", leased(40))
        await line.refuse(await line.request("dispatch.renew"), code)
        with pytest.raises(errors.BY_CODE[code]):
            await working
        assert line.idle()


async def test_an_outcome_that_is_refused_fails_the_dispatch(broker: Stub) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease("k") as one:
            one.outcome = "much"

    async with join(broker) as me:
        line = await broker.line()
        working = asyncio.ensure_future(work(me))
        await line.answer("dispatch.lease", leased())
        await line.refuse(await line.request("dispatch.consume"), "too_large")
        assert (await fields(line, "dispatch.fail"))["reason"] == "TooLarge"
        with pytest.raises(errors.TooLarge):
            await working


async def test_what_the_body_raised_is_not_hidden_by_a_refusal(broker: Stub) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease("k"):
            raise ValueError("broken")

    async with join(broker) as me:
        line = await broker.line()
        working = asyncio.ensure_future(work(me))
        await line.answer("dispatch.lease", leased())
        await line.refuse(await line.request("dispatch.fail"), "stale_lease")
        with pytest.raises(ValueError, match="broken") as caught:
            await working
        assert "could not be failed" in caught.value.__notes__[0]


@pytest.mark.parametrize("code", ["already_leased", "already_consumed", "dispatch_failed"])
async def test_work_that_can_not_be_had_says_why(broker: Stub, code: str) -> None:
    async def work(me: Any) -> None:
        async with me.dispatch.lease("k"):
            pytest.fail("there is no lease")

    async with join(broker) as me:
        line = await broker.line()
        working = asyncio.ensure_future(work(me))
        await line.refuse(await line.request("dispatch.lease"), code, detail={"status": "failed"})
        with pytest.raises(errors.BY_CODE[code]) as caught:
            await working
        assert caught.value.detail == {"status": "failed"}


async def test_a_lease_may_be_had_without_the_block(broker: Stub) -> None:
    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()

        async def lease() -> Any:
            return await me.dispatch.lease("k")

        leasing = tasks.create_task(lease())
        await line.answer("dispatch.lease", leased())
    assert leasing.result().prompt == "do it"


async def test_a_lost_connection_does_not_lose_the_work(
    broker: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.keeper.FIRST_SECONDS", 0.01)

    async def work(me: Any) -> None:
        async with me.dispatch.lease("k") as one:
            one.outcome = 1

    async with join(broker) as me, asyncio.TaskGroup() as tasks:
        line = await broker.line()
        tasks.create_task(work(me))
        first = await line.request("dispatch.lease")
        await line.drop()
        line = await broker.line()
        again = await line.answer("dispatch.lease", leased())
        assert again["call_id"] == first["call_id"]
        await line.request("dispatch.consume")
        await line.drop()
        line = await broker.line()
        await line.answer("dispatch.consume", {**FINISHED, "duplicate": True})


async def test_a_renewal_that_is_lost_with_its_connection_goes_first_on_the_next(
    broker: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.01)
    async with join(broker) as me:
        line = await broker.line()
        ended = asyncio.Event()

        async def work() -> None:
            async with me.dispatch.lease("k" * 64):
                await ended.wait()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(work())
            await line.answer("dispatch.lease", leased(1_000))
            await line.request("dispatch.renew")
            await line.drop()
            line = await broker.line()
            listing = tasks.create_task(me.group.list())
            again = await line.request()
            assert (again["op"], again["lease_token"]) == ("dispatch.renew", "t1")
            await line.ok(again, renewed())
            await line.answer("group.list", {"groups": [], "next": None})
            await listing
            ended.set()
            await line.answer("dispatch.consume", FINISHED)
