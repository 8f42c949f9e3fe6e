"""What time does: stuck by silence, failed by deadline, to the millisecond and in chunks."""

from __future__ import annotations

from pathlib import Path

import pytest
from delegation_parties import DEADLINE_MS, STUCK_MS, Parties, parties
from rig import START

from broker.areas.delegations import sweep


async def status_at(p: Parties, ms: int, id: str = "d1") -> str:
    """How it stands so long after the start."""
    await p.rig.advance(START + ms - p.rig.clock.time)
    return str((await p.get(id))["status"])


async def test_stuck_by_silence(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.rig.advance(100)
        await p.open()
        await p.says("in_progress")
        assert await status_at(p, 100 + STUCK_MS - 1) == "in_progress"
        assert p.results() == []
        assert await status_at(p, 100 + STUCK_MS) == "stuck"
        shown = await p.get()
        assert shown["reason"] == "silent"
        assert shown["finished_at"] == START + 100 + STUCK_MS
        assert shown["history"][-1] == {
            "at": START + 100 + STUCK_MS,
            "status": "stuck",
            "by": "postroom",
            "note": "silent",
        }
        assert p.results() == [
            {
                "delegation": "d1",
                "status": "stuck",
                "result": None,
                "error": None,
                "reason": "silent",
                "late": False,
            }
        ]
        await p.rig.advance(DEADLINE_MS * 2)
        assert p.results() == []
        assert p.counts_agree()


async def test_a_heartbeat_puts_it_off(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.says("in_progress")
        for beat in range(1, 4):
            assert await status_at(p, beat * (STUCK_MS - 1)) == "in_progress"
            await p.worker.ask("delegation.heartbeat", delegation="d1")
        last = 3 * (STUCK_MS - 1)
        assert await status_at(p, last + STUCK_MS - 1) == "in_progress"
        assert await status_at(p, last + STUCK_MS) == "stuck"


async def test_saying_the_same_again_is_no_heartbeat(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.says("in_progress")
        await p.rig.advance(STUCK_MS - 1)
        assert (await p.says("in_progress"))["duplicate"] is True
        assert await status_at(p, STUCK_MS) == "stuck"


async def test_beginning_is_a_heartbeat(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.worker.ask("delegation.heartbeat", delegation="d1")
        await p.rig.advance(100)
        await p.says("in_progress")
        assert (await p.get())["last_heartbeat_at"] == START + 100
        assert await status_at(p, 100 + STUCK_MS - 1) == "in_progress"


@pytest.mark.parametrize("status", ["queued", "dispatched"])
async def test_what_has_not_begun_may_be_silent(tmp_path: Path, status: str) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.bring_to(status)
        await p.worker.ask("delegation.heartbeat", delegation="d1")
        assert await status_at(p, DEADLINE_MS - 1) == status


@pytest.mark.parametrize("status", ["queued", "dispatched", "in_progress"])
async def test_failed_by_deadline(tmp_path: Path, status: str) -> None:
    async with parties(tmp_path) as p:
        await p.open(deadline_ms=STUCK_MS - 1)
        await p.bring_to(status)
        assert await status_at(p, STUCK_MS - 2) == status
        assert await status_at(p, STUCK_MS - 1) == "failed"
        assert (await p.get())["reason"] == "deadline"
        assert (await p.steps())[-1] == ("failed", "postroom")
        assert [(body["status"], body["reason"]) for body in p.results()] == [
            ("failed", "deadline")
        ]
        await p.rig.advance(DEADLINE_MS)
        assert p.results() == []


async def test_the_usual_deadline(tmp_path: Path) -> None:
    async with parties(tmp_path, delegation__stuck_ms=10**9) as p:
        await p.open()
        await p.says("in_progress")
        assert await status_at(p, DEADLINE_MS - 1) == "in_progress"
        assert await status_at(p, DEADLINE_MS) == "failed"


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_time_does_nothing_to_what_has_ended(tmp_path: Path, end: str) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.bring_to(end)
        before = await p.get()
        p.results()
        await p.rig.advance(DEADLINE_MS * 2)
        assert await p.get() == before
        assert p.results() == []


async def test_nobody_is_called_stuck_before_a_full_threshold_after_a_restart(
    tmp_path: Path,
) -> None:
    async with parties(tmp_path) as p:
        await p.open(deadline_ms=10**9)
        await p.says("in_progress")
        await p.rig.advance(STUCK_MS - 1)
        await p.come_back(after=5 * STUCK_MS)
        began = p.rig.clock.time - START
        assert await status_at(p, began + STUCK_MS - 1) == "in_progress"
        assert await status_at(p, began + STUCK_MS) == "stuck"


async def test_a_deadline_that_passed_during_the_absence_of_the_broker_is_over(
    tmp_path: Path,
) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.rig.crash()
        p.rig.clock.time += DEADLINE_MS
        await p.rig.start()
        # Nobody needs to come for it.
        await p.rig.settle()
        assert p.rig.rows("SELECT status, reason FROM delegations") == [("failed", "deadline")]


async def test_a_deadline_that_is_still_ahead_after_a_restart(tmp_path: Path) -> None:
    async with parties(tmp_path, delegation__sweep_ms=10**9) as p:
        await p.open(deadline_ms=45_000)
        await p.open("d2", deadline_ms=46_000)
        await p.rig.restart()
        await p.rig.advance(44_999)
        assert p.rig.rows("SELECT DISTINCT status FROM delegations") == [("queued",)]
        await p.rig.advance(1)
        assert p.rig.rows("SELECT id FROM delegations WHERE finished_at") == [("d1",)]
        await p.rig.advance(1_000)
        assert len(p.rig.rows("SELECT id FROM delegations WHERE finished_at")) == 2


async def test_many_that_end_at_once_end_in_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CHUNK", 3)
    async with parties(tmp_path) as p:
        for number in range(10):
            await p.open(f"silent{number}")
            await p.says("in_progress", f"silent{number}")
            await p.open(f"late{number}", deadline_ms=STUCK_MS)
        batches = p.rig.broker.executor.batches
        p.rig.clock.time += STUCK_MS
        await p.one_batch()
        assert p.rig.rows("SELECT count(*) FROM delegations WHERE finished_at") == [(6,)]
        await p.rig.settle()
        assert p.rig.broker.executor.batches - batches >= 4
        assert p.rig.rows("SELECT status, count(*) FROM delegations GROUP BY 1 ORDER BY 1") == [
            ("failed", 10),
            ("stuck", 10),
        ]
        results = p.results()
        assert len(results) == 20
        assert len({body["delegation"] for body in results}) == 20
        assert p.counts_agree()


async def test_a_wake_up_that_was_lost_is_made_good(tmp_path: Path) -> None:
    async with parties(tmp_path, delegation__sweep_ms=50_000) as p:
        await p.open(deadline_ms=1_000)
        sweeps = 50_000
        await p.rig.advance(999)
        p.rig.broker.turn.wake = START + sweeps
        await p.rig.advance(sweeps - 999 - 1)
        assert p.rig.rows("SELECT status FROM delegations") == [("queued",)]
        await p.rig.advance(1)
        assert p.rig.rows("SELECT status FROM delegations") == [("failed",)]


async def test_the_sweep_comes_at_least_every_so_often(tmp_path: Path) -> None:
    async with parties(tmp_path, delegation__sweep_ms=7_000) as p:
        await p.rig.settle()
        assert p.rig.broker.executor.due() <= p.rig.clock.time + 7_000


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (sweep.SILENT, "idx_delegations_inflight_heartbeat (status=? AND last_heartbeat<?)"),
        (sweep.NEXT_SILENT, "idx_delegations_inflight_heartbeat (status=?)"),
        (sweep.OVERDUE, "idx_delegations_inflight_deadline (deadline<?)"),
        (sweep.NEXT_OVERDUE, "idx_delegations_inflight_deadline"),
    ],
)
async def test_a_sweep_reads_only_what_is_due(tmp_path: Path, statement: str, index: str) -> None:
    async with parties(tmp_path) as p:
        values = (0,) * statement.count("?")
        plan = [row[3] for row in p.rig.rows(f"EXPLAIN QUERY PLAN {statement}", *values)]
        assert len(plan) == 1, plan
        assert index in plan[0]
