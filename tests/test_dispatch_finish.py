"""Finishing: fenced by the newest token, and each misfit with an answer of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from dispatch_desk import KEY, create, holding, lease, results, worker
from rig import Peer, Rig, rig

CONSUME = {"op": "dispatch.consume", "outcome": {"n": 1}}
FAIL = {"op": "dispatch.fail", "reason": "broken", "error": "it broke", "retryable": False}
GIVE_BACK = {**FAIL, "retryable": True}


async def leased(r: Rig, **more: Any) -> tuple[Peer, Peer, dict[str, str]]:
    """A creator, a worker, and what names its lease."""
    alice, bob = await r.join("alice"), await worker(r)
    await create(alice, **more)
    return alice, bob, holding(await lease(bob))


async def call(peer: Peer, what: dict[str, Any], held: dict[str, str]) -> Any:
    """Make one of the calls above; the code if it is refused."""
    answer = await peer.answer(**what, **held)
    return answer["ok"] if "ok" in answer else answer["error"]["code"]


@pytest.mark.parametrize(
    ("what", "status"),
    [
        (CONSUME, "consumed"),
        ({"op": "dispatch.consume"}, "consumed"),
        ({"op": "dispatch.consume", "outcome": None}, "consumed"),
        (FAIL, "failed"),
        (GIVE_BACK, "pending"),
    ],
)
async def test_the_same_call_again(tmp_path: Path, what: dict[str, Any], status: str) -> None:
    async with rig(tmp_path) as r:
        alice, bob, held = await leased(r)
        assert await call(bob, what, held) == {"status": status, "duplicate": False}
        told = results(alice)
        assert [one["status"] for one in told] == ([] if status == "pending" else [status])
        await r.advance(120_000)
        again = await r.join("worker", role="session")
        for peer in (bob, again):
            assert await call(peer, what, held) == {"status": status, "duplicate": True}
        assert results(alice) == []


OTHERS: list[dict[str, Any]] = [
    CONSUME,
    {"op": "dispatch.consume"},
    {"op": "dispatch.consume", "outcome": None},
    {"op": "dispatch.consume", "outcome": {"n": 2}},
    FAIL,
    GIVE_BACK,
    {**FAIL, "reason": "other"},
    {**FAIL, "error": None},
]


@pytest.mark.parametrize("first", range(len(OTHERS)))
async def test_another_outcome(tmp_path: Path, first: int) -> None:
    async with rig(tmp_path) as r:
        _, bob, held = await leased(r)
        await call(bob, OTHERS[first], held)
        before = r.rows("SELECT * FROM dispatch_queue, dispatch_attempts")
        for number, what in enumerate(OTHERS):
            if number != first:
                assert await call(bob, what, held) == "already_finished"
        assert r.rows("SELECT * FROM dispatch_queue, dispatch_attempts") == before


@pytest.mark.parametrize("what", [CONSUME, FAIL, GIVE_BACK])
async def test_who_may_not(tmp_path: Path, what: dict[str, Any]) -> None:
    async with rig(tmp_path) as r:
        alice, bob, held = await leased(r)
        owner = await r.join("owner")
        wrong = {**held, "lease_token": "made up"}
        assert await call(bob, what, wrong) == "stale_lease"
        assert await call(bob, what, {**held, "dispatch": "w9"}) == "not_found"
        assert await call(bob, what, {**held, "dispatch": "no id"}) == "not_found"
        for peer in (alice, owner):
            assert await call(peer, what, held) == "forbidden"
            assert await call(peer, what, wrong) == "forbidden", "and learns nothing of the token"
        assert r.rows("SELECT status FROM dispatch_queue") == [("leased",)]


@pytest.mark.parametrize("what", [CONSUME, FAIL, GIVE_BACK])
async def test_too_late(tmp_path: Path, what: dict[str, Any]) -> None:
    async with rig(tmp_path) as r:
        _, bob, held = await leased(r, max_attempts=2)
        carol = await worker(r, "carol")
        await r.advance(60_000)
        assert await call(bob, what, held) == "lease_expired"
        new = holding(await lease(carol))
        assert await call(bob, what, held) == "stale_lease"
        assert await call(bob, what, new) == "forbidden"
        assert await call(carol, what, held) == "stale_lease"
        await r.advance(60_000)
        assert await call(carol, what, new) == "lease_expired", "though the dispatch has failed"
        assert r.rows("SELECT status, reason FROM dispatch_queue") == [("failed", "lease_expired")]


async def test_an_old_lease_stays_old_after_its_end(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        _, bob, held = await leased(r)
        await call(bob, GIVE_BACK, held)
        new = holding(await lease(bob, "second"))
        assert await call(bob, GIVE_BACK, held) == "stale_lease"
        await call(bob, CONSUME, new)
        assert await call(bob, CONSUME, held) == "stale_lease"


async def test_retryable_failures_use_up_the_attempts(tmp_path: Path) -> None:
    async with rig(tmp_path, dispatch__max_attempts=2) as r:
        alice, bob, held = await leased(r)
        assert await call(bob, GIVE_BACK, held) == {"status": "pending", "duplicate": False}
        second = await lease(bob, "second")
        assert second["attempt"] == 2
        assert await call(bob, GIVE_BACK, holding(second)) == {
            "status": "failed",
            "duplicate": False,
        }
        assert results(alice) == [
            {
                "dispatch": "w1",
                "dispatch_key": KEY,
                "status": "failed",
                "attempt": 2,
                "reason": "broken",
                "error": "it broke",
            }
        ]


async def test_given_back_when_its_time_is_over(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, held = await leased(r, ttl_ms=5_000)
        await r.advance(10_000)
        assert r.rows("SELECT status FROM dispatch_queue") == [("leased",)]
        assert await call(bob, GIVE_BACK, held) == {"status": "expired", "duplicate": False}
        assert [one["reason"] for one in results(alice)] == ["ttl"]
        assert await call(bob, GIVE_BACK, held) == {"status": "expired", "duplicate": True}


async def test_what_the_creator_is_told(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, held = await leased(r)
        await call(bob, CONSUME, held)
        (mail,) = alice.mail()
        assert (mail["kind"], mail["from"], mail["mailbox"]) == (
            "dispatch.result",
            "postroom",
            "alice",
        )
        assert mail["body"] == {
            "dispatch": "w1",
            "dispatch_key": KEY,
            "status": "consumed",
            "attempt": 1,
            "outcome": {"n": 1},
        }


async def test_the_outcome_keeps_its_bytes(tmp_path: Path) -> None:
    outcome = b'{ "a":1.0,"a": "\\u00e9" }'
    async with rig(tmp_path) as r:
        alice, bob, held = await leased(r)
        frame = msgspec.json.encode({"op": "dispatch.consume", "id": 99, **held, "outcome": "@"})
        bob.write(frame.replace(b'"@"', outcome))
        await r.settle()
        await create(alice)
        await alice.ask("dispatch.get", dispatch="w1")
        assert sum(outcome in raw for raw in alice.line.raw) == 3, "mailed, again, shown"


async def test_sizes(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__body=1_000, limits__frame=70_000) as r:
        alice, bob, held = await leased(r)
        large = {"op": "dispatch.consume", "outcome": "x" * 999}
        assert await call(bob, large, held) == "too_large"
        for field in ("reason", "error"):
            assert await call(bob, {**FAIL, field: "é" * 2_049}, held) == "bad_request"
        texts = {"reason": "\x01" * 4_096, "error": "é" * 2_048}
        assert await call(bob, {**FAIL, **texts}, held) == {"status": "failed", "duplicate": False}
        (result,) = [raw for raw in alice.line.raw if b"dispatch.result" in raw]
        assert len(result) < 1_000 + 4_096 + 1_024
        (told,) = results(alice)
        for field, text in texts.items():
            assert told[field].endswith("…")
            assert text.startswith(told[field][:-1])
        shown = await alice.ask("dispatch.get", dispatch="w1")
        assert shown["attempts"][0]["reason"] == texts["reason"], "the record is whole"
        assert await call(bob, {**FAIL, **texts}, held) == {"status": "failed", "duplicate": True}


async def test_cancelling(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, owner = await r.join("alice"), await worker(r), await r.join("owner")
        await create(alice)
        await bob.refused("not_found", "dispatch.cancel", dispatch="w2")
        await bob.refused("forbidden", "dispatch.cancel", dispatch="w1")
        held = holding(await lease(bob))
        for peer in (alice, owner):
            await peer.refused("already_leased", "dispatch.cancel", dispatch="w1")
        await bob.ask("dispatch.fail", **held, reason="x", retryable=True)
        cancelled = await alice.ask("dispatch.cancel", dispatch="w1")
        assert cancelled == {"status": "cancelled", "duplicate": False}
        assert [(one["status"], one["attempt"]) for one in results(alice)] == [("cancelled", 2)]
        for peer in (alice, owner):
            error = await peer.refused("already_finished", "dispatch.cancel", dispatch="w1")
            assert error["detail"] == {"status": "cancelled"}


async def test_an_admin_may_cancel_for_others(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, owner = await r.join("alice"), await r.join("owner")
        await create(alice)
        await owner.ask("dispatch.cancel", dispatch="w1")
        assert [one["status"] for one in results(alice)] == ["cancelled"]


async def test_while_the_broker_drains(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, held = await leased(r)
        r.broker.executor.drain()
        assert (await bob.ask("dispatch.renew", **held))["lease_ms"] == 60_000
        asked = {"dispatch_key": KEY, "call_id": "call"}
        await bob.refused("draining", "dispatch.lease", **asked)
        await alice.refused("draining", "dispatch.cancel", dispatch="w1")
        assert (await alice.ask("dispatch.get", dispatch="w1"))["status"] == "leased"
        assert (await alice.ask("dispatch.list"))["next"] is None
        assert (await call(bob, CONSUME, held))["status"] == "consumed"
