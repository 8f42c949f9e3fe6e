"""What time does: leases that run out, lives that end, restarts that are nobody's fault."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from dispatch_desk import KEY, create, holding, lease, results, worker
from rig import Rig, rig

from broker.areas.dispatch import sweep
from broker.areas.dispatch.sweep import CHUNK


def standing(r: Rig) -> tuple[object, ...]:
    """Status, attempt and reason of the dispatch on disk."""
    return r.rows("SELECT status, attempt, reason FROM dispatch_queue")[0]


async def one_batch(r: Rig) -> None:
    """Let one batch be decided and committed, wherever that is done."""
    executor = r.broker.executor
    executor.run()
    while executor.committing:  # noqa: ASYNC110 - a thread commits, and tells the loop
        await asyncio.sleep(0)


async def test_a_lease_that_runs_out_is_the_next_attempt(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice, max_attempts=2)
        await lease(bob, lease_ms=5_000)
        await r.advance(4_999)
        assert standing(r) == ("leased", 1, None)
        await r.advance(1)
        assert standing(r) == ("pending", 2, None)
        assert r.rows(
            "SELECT attempt_number, status, reason, finished_at FROM dispatch_attempts"
        ) == [(1, "failed", "lease_expired", r.clock.time), (2, "pending", None, None)]
        second = await lease(bob, lease_ms=5_000)
        assert second["attempt"] == 2
        assert results(alice) == []
        await r.advance(5_000)
        assert standing(r) == ("failed", 2, "lease_expired")
        assert results(alice) == [
            {
                "dispatch": "w1",
                "dispatch_key": KEY,
                "status": "failed",
                "attempt": 2,
                "reason": "lease_expired",
            }
        ]


async def test_renewed_in_time(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        held = holding(await lease(bob, lease_ms=5_000))
        for _ in range(10):
            await r.advance(4_000)
            await bob.ask("dispatch.renew", **held, lease_ms=5_000)
        assert standing(r) == ("leased", 1, None)
        await r.advance(5_000)
        assert standing(r) == ("pending", 2, None)


async def test_nobody_took_it(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        await create(alice, ttl_ms=5_000)
        await r.advance(4_999)
        assert standing(r) == ("pending", 1, None)
        await r.advance(1)
        assert standing(r) == ("expired", 1, "ttl")
        assert r.rows("SELECT status, reason FROM dispatch_attempts") == [("expired", "ttl")]
        assert [(one["status"], one["reason"]) for one in results(alice)] == [("expired", "ttl")]


async def test_a_leased_one_outlives_its_time(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice, ttl_ms=5_000)
        await lease(bob, lease_ms=10_000)
        await r.advance(9_999)
        assert standing(r) == ("leased", 1, None)
        await r.advance(1)
        assert standing(r) == ("expired", 1, "ttl")
        assert r.rows("SELECT status, reason FROM dispatch_attempts") == [
            ("failed", "lease_expired")
        ]


async def test_its_time_runs_on_for_the_next_attempt(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice, ttl_ms=5_000)
        await create(alice, dag_task_id="other", ttl_ms=500)
        held = holding(await lease(bob))
        await r.advance(1_000)
        await bob.ask("dispatch.fail", **held, reason="x", retryable=True)
        await r.advance(3_999)
        assert standing(r) == ("pending", 2, None)
        await r.advance(1)
        assert standing(r) == ("expired", 2, "ttl")


@pytest.mark.parametrize("away_ms", [0, 59_000, 600_000])
@pytest.mark.parametrize("lease_ms", [2_000, 60_000, 3_600_000])
async def test_a_restart_gives_a_floor(tmp_path: Path, lease_ms: int, away_ms: int) -> None:
    async with rig(tmp_path, dispatch__lease_ms=30_000) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        leased = await lease(bob, lease_ms=lease_ms)
        before = r.rows("SELECT * FROM dispatch_queue")
        await r.crash()
        r.clock.time += away_ms
        await r.start()
        end = max(leased["lease_expires_at"], r.clock.time + 30_000)
        assert r.rows("SELECT * FROM dispatch_queue") == before, "no row is changed for it"
        await r.advance(end - r.clock.time - 1)
        assert standing(r) == ("leased", 1, None)
        await r.advance(1)
        assert standing(r) == ("pending", 2, None)


async def test_the_floor_is_told_and_ends_with_the_first_renewal(tmp_path: Path) -> None:
    async with rig(tmp_path, dispatch__lease_ms=30_000) as r:
        alice, bob = await r.join("alice"), await worker(r, session="one")
        await create(alice)
        leased = await lease(bob, lease_ms=2_000)
        await r.advance(1_000)
        await r.restart()
        bob = await r.join("worker", role="service", session="one")
        again = await lease(bob)
        assert again == {
            **leased,
            "lease_ms": 30_000,
            "lease_expires_at": r.clock.time + 30_000,
        }
        await r.advance(20_000)
        held = holding(leased)
        renewed = await bob.ask("dispatch.renew", **held, lease_ms=3_000)
        assert renewed["lease_ms"] == 3_000
        await r.advance(3_000)
        assert standing(r) == ("pending", 2, None)


async def test_consumed_between_its_end_and_the_floor(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        held = holding(await lease(bob, lease_ms=2_000))
        await r.restart()
        await r.advance(30_000)
        bob = await r.join("worker")
        assert (await bob.ask("dispatch.consume", **held))["status"] == "consumed"


async def test_a_lease_of_this_start_has_no_floor(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        for task in ("TASK-1", "TASK-2"):
            await create(alice, dag_task_id=task)
        await lease(bob, lease_ms=2_000)
        await r.restart()
        alice, bob = await r.join("alice"), await r.join("worker")
        key = (await create(alice, dag_task_id="TASK-2"))["dispatch_key"]
        await lease(bob, dispatch_key=key, lease_ms=1_000)
        await r.advance(1_000)
        await r.advance(9_000)
        statuses = r.rows("SELECT status FROM dispatch_queue ORDER BY id")
        assert statuses == [("leased",), ("pending",)]
        await r.advance(50_000)
        statuses = r.rows("SELECT status FROM dispatch_queue ORDER BY id")
        assert statuses == [("pending",), ("pending",)]


async def test_a_second_restart_moves_the_floor(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        await lease(bob, lease_ms=2_000)
        for _ in range(3):
            await r.advance(59_000 if standing(r)[1] == 0 else 1_000)
            await r.restart()
        await r.advance(59_999)
        assert standing(r) == ("leased", 1, None)
        await r.advance(1)
        assert standing(r) == ("pending", 2, None)


@pytest.mark.parametrize("status", ["failed", "expired"])
async def test_a_sweep_is_bounded_and_goes_on(tmp_path: Path, status: str) -> None:
    most = CHUNK + 20
    async with rig(tmp_path, mail__max_depth=10, store__synchronous="normal") as r:
        alice, bob = await r.join("alice", capacity=0), await worker(r)
        ttl_ms = 60_000 if status == "expired" else None
        for task in range(most):
            made = await create(alice, dag_task_id=str(task), max_attempts=1, ttl_ms=ttl_ms)
            if status == "failed":
                await lease(bob, dispatch_key=made["dispatch_key"])
        r.clock.time += 60_000
        await one_batch(r)
        count = f"SELECT count(*) FROM dispatch_queue WHERE status = '{status}'"
        assert r.rows(count) == [(CHUNK,)]
        assert r.broker.executor.due() <= r.clock.time
        await r.settle()
        assert r.rows(count) == [(most,)]
        kinds = r.rows("SELECT count(*) FROM messages WHERE kind = 'dispatch.result'")
        assert kinds == [(most,)], "whatever the depth of the mailbox"


async def test_what_the_sweep_has_not_reached_is_over_all_the_same(tmp_path: Path) -> None:
    most = CHUNK + 2
    async with rig(tmp_path, store__synchronous="normal") as r:
        alice, bob = await r.join("alice", capacity=0), await worker(r)
        made = [
            await create(alice, dag_task_id=str(task), max_attempts=1, ttl_ms=60_000)
            for task in range(most)
        ]
        leased = [await lease(bob, dispatch_key=one["dispatch_key"]) for one in made]
        late = [
            await create(alice, dag_task_id=f"late {task}", ttl_ms=60_000) for task in range(most)
        ]
        r.clock.time += 60_000
        asked = [
            bob.post("dispatch.consume", **holding(leased[-1])),
            bob.post("dispatch.lease", dispatch_key=made[-1]["dispatch_key"], call_id="call"),
            bob.post("dispatch.lease", dispatch_key=late[-1]["dispatch_key"], call_id="call"),
        ]
        reopening = alice.post(
            "dispatch.create",
            agent_type="Super-Admin",
            parent_session_id="ses_parent",
            dag_task_id=f"late {most - 1}",
            prompt="hello\n",
            retry=True,
        )
        cancelling = alice.post("dispatch.cancel", dispatch=late[-2]["dispatch"])
        await one_batch(r)
        assert alice.reply(cancelling)["error"]["code"] == "already_finished"
        codes = [bob.reply(id)["error"]["code"] for id in asked]
        assert codes == ["lease_expired", "dispatch_failed", "dispatch_failed"]
        answer = alice.reply(reopening)["ok"]
        assert (answer["status"], answer["attempt"]) == ("pending", 2)
        await r.settle()
        kinds = r.rows("SELECT count(*) FROM messages WHERE kind = 'dispatch.result'")
        assert kinds == [(2 * most,)], "each end is told once"


async def test_the_sweep_looks_at_unfinished_rows_only(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice")
        for statement, values in (
            (sweep.NEXT_DUE, ()),
            (sweep.NEXT_LEASE, (1,)),
            (sweep.LAPSED, (1, 0, 1)),
            (sweep.OUTLIVED, (1, 1)),
        ):
            plan = [row[3] for row in r.rows(f"EXPLAIN QUERY PLAN {statement}", *values)]
            used = [step for step in plan if "SEARCH" in step or "SCAN dispatch" in step]
            assert used
            assert all("dispatch_queue_leases" in s or "dispatch_queue_expiring" in s for s in used)
            assert not any("TEMP B-TREE" in step for step in plan)
