"""One end and one mail, whoever comes first: the worker, the sweeper or the canceller."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from delegation_parties import DEADLINE_MS, STUCK_MS, Parties, parties
from rig import Peer

from broker.areas.delegations.change import Step, change
from broker.areas.delegations.record import find
from broker.areas.delegations.report import update
from broker.areas.delegations.sweep import sweep
from broker.core.turn import Turn
from broker.wire.delegations import Update
from broker.wire.errors import Refused

FIRST = ("worker", "sweeper", "canceller")


def as_said_by(peer: Peer, **fields: Any) -> Callable[[Turn], None]:
    """An update as a piece of a batch that has other pieces before and after it."""

    def job(turn: Turn) -> None:
        presence = peer.conversation.presence
        assert presence is not None
        # Whoever comes after the end without a result has nothing to say any more.
        with contextlib.suppress(Refused), turn.atomic():
            update(turn, presence, Update(delegation="d1", **fields))

    return job


@pytest.mark.parametrize("order", list(itertools.permutations(FIRST)))
@pytest.mark.parametrize("due", ["stuck", "deadline"])
@pytest.mark.parametrize("content", [{}, {"error": "broken"}])
async def test_three_at_once_make_one_end(
    tmp_path: Path, order: tuple[str, ...], due: str, content: dict[str, str]
) -> None:
    async with parties(tmp_path) as p:
        await p.open(send=True)
        await p.says("in_progress" if due == "stuck" else "dispatched")
        p.rig.clock.time += STUCK_MS if due == "stuck" else DEADLINE_MS
        p.rig.broker.turn.wake = p.rig.clock.time + 1  # the sweep has no turn of its own
        jobs = {
            "worker": as_said_by(p.worker, status="completed", **content),
            "sweeper": sweep,
            "canceller": as_said_by(p.leader, status="cancelled"),
        }
        for name in order:
            p.rig.broker.executor.submit(jobs[name])
        await p.one_batch()
        await p.rig.settle()
        await one_end(
            p,
            {
                "worker": "completed",
                "sweeper": "stuck" if due == "stuck" else "failed",
                "canceller": "cancelled",
            }[order[0]],
            late=bool(content) and order[0] != "worker",
            told=order[0] != "canceller",
        )


@pytest.mark.parametrize("worker_first", [True, False])
@pytest.mark.parametrize("swept", [True, False])
async def test_requests_and_the_sweep_in_one_batch(
    tmp_path: Path, worker_first: bool, swept: bool
) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.says("in_progress")
        if swept:
            p.rig.clock.time += STUCK_MS
        fields = {"delegation": "d1"}
        posts: list[Callable[[], object]] = [
            lambda: p.worker.post("delegation.update", status="completed", result=1, **fields),
            lambda: p.leader.post("delegation.update", status="cancelled", **fields),
        ]
        for post in posts if worker_first else reversed(posts):
            post()
        await p.rig.settle()
        end = "stuck" if swept else "completed" if worker_first else "cancelled"
        await one_end(p, end, late=swept or not worker_first, told=swept or worker_first)


async def one_end(p: Parties, end: str, *, late: bool, told: bool) -> None:
    """The end stands, everywhere alike, and it was told once."""
    shown = await p.get()
    assert shown["status"] == end
    ends = [
        entry
        for entry in shown["history"]
        if entry["status"] in ("completed", "failed", "stuck", "cancelled") and "late" not in entry
    ]
    assert [entry["status"] for entry in ends] == [end]
    results = p.results()
    assert [body["late"] for body in results] == [False] * told + [True] * late
    assert {body["status"] for body in results} <= {end}
    assert p.counts_agree()


async def test_who_has_seen_it_as_it_was_changes_nothing(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        seen: list[bool] = []

        def job(turn: Turn) -> None:
            stale = find(turn, 1, "d1")
            assert stale is not None
            seen.append(change(turn, stale, Step("completed", "worker", result=b"1")))
            seen.append(change(turn, stale, Step("failed", "worker", result=b"2")))

        p.rig.broker.executor.submit(job)
        await p.rig.settle()
        assert seen == [True, False]
        await one_end(p, "completed", late=False, told=True)
        assert (await p.get())["result"] == 1


async def test_whoever_was_overtaken_is_answered_by_what_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        overtaken: list[Step] = []

        def overtake(turn: Turn, record: Any, step: Step) -> bool:
            if not overtaken:
                overtaken.append(step)
                change(turn, record, Step("in_progress", "worker"))
            return change(turn, record, step)

        monkeypatch.setattr("broker.areas.delegations.report.change", overtake)
        assert (await p.says("completed", result=1))["status"] == "completed"
        assert [status for status, _ in await p.steps()] == ["queued", "in_progress", "completed"]
        await one_end(p, "completed", late=False, told=True)


async def test_a_batch_that_fails_takes_everything_back(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open(send=True)
        before = await p.get()
        p.worker.mail()

        def fail(turn: Turn) -> None:
            as_said_by(p.worker, status="completed", result=1)(turn)
            assert turn.one("SELECT status FROM delegations") == ("completed",)
            raise ZeroDivisionError

        p.rig.broker.executor.submit(fail)
        await p.rig.settle()
        assert await p.get() == before
        assert p.results() == []
        assert p.counts_agree()
        await p.says("completed", result=1)
        assert len(p.results()) == 1


async def test_nobody_is_told_when_the_caller_is_gone(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        owner = await p.rig.join("owner", observe=True)
        await owner.ask("member.remove", member="leader")
        assert (await p.says("completed", result=1))["status"] == "completed"
        assert (await p.says("failed", error="late"))["late"] is True
        assert p.rig.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_who_asks_itself_is_told_of_its_own_result(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.leader.ask("delegation.open", delegation="d1", callee="leader", task=1)
        await p.leader.ask("delegation.update", delegation="d1", status="completed", result=1)
        assert [body["result"] for body in p.results()] == [1]


async def test_the_result_answers_the_mail_of_the_task(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        opened = await p.open(send=True)
        await p.says("completed", result=1)
        (mail,) = p.leader.mail()
        assert mail["reply_to"] == opened["message"]
