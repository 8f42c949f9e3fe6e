"""What the parties say: who may, what is a repetition, what comes too late, and heartbeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from delegation_parties import parties
from rig import START

ENDS = ("completed", "failed", "stuck", "cancelled")
DONE = {"duplicate": False, "late": False}


async def test_the_straight_way(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.rig.advance(10)
        assert await p.says("dispatched") == {"status": "dispatched", **DONE}
        await p.rig.advance(10)
        assert await p.says("in_progress") == {"status": "in_progress", **DONE}
        assert (await p.get())["last_heartbeat_at"] == START + 20
        await p.rig.advance(10)
        assert await p.says("completed", result=[1]) == {"status": "completed", **DONE}
        shown = await p.get()
        assert shown["status"] == "completed"
        assert shown["result"] == [1]
        assert shown["finished_at"] == shown["updated_at"] == START + 30
        assert [(entry["at"] - START, entry["status"]) for entry in shown["history"]] == [
            (0, "queued"),
            (10, "dispatched"),
            (20, "in_progress"),
            (30, "completed"),
        ]
        assert p.results() == [
            {
                "delegation": "d1",
                "status": "completed",
                "result": [1],
                "error": None,
                "reason": None,
                "late": False,
            }
        ]


async def test_a_failure_says_why(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.says("failed", error="no such tool 😀", result={"tried": 3})
        shown = await p.get()
        assert (shown["error"], shown["result"]) == ("no such tool 😀", {"tried": 3})
        (told,) = p.results()
        assert (told["status"], told["error"]) == ("failed", "no such tool 😀")


@pytest.mark.parametrize("by", ["worker", "leader", "both"])
async def test_who_may_say_what(tmp_path: Path, by: str) -> None:
    async with parties(tmp_path) as p:
        callee = "leader" if by == "both" else "worker"
        peer = p.worker if by == "worker" else p.leader
        allowed: set[str] = set()
        if by in ("worker", "both"):
            allowed |= {"queued", "dispatched", "in_progress", "completed", "failed"}
        if by in ("leader", "both"):
            allowed |= {"cancelled"}
        for status in ("queued", "dispatched", "in_progress", *ENDS):
            await p.leader.ask("delegation.open", delegation=status, callee=callee, task=1)
            answer = await peer.answer("delegation.update", delegation=status, status=status)
            if status in allowed:
                assert answer["ok"]["status"] == status
            else:
                assert answer["error"]["code"] == "forbidden"
                assert (await p.get(status))["status"] == "queued"


@pytest.mark.parametrize("status", ["dispatched", "in_progress", "completed", "failed"])
@pytest.mark.parametrize("content", [{}, {"result": None}, {"error": "e"}, {"result": 1}])
async def test_the_same_again_is_a_duplicate(
    tmp_path: Path, status: str, content: dict[str, Any]
) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        assert await p.says(status, **content) == {"status": status, **DONE}
        await p.rig.advance(1_000)
        before = await p.get()
        again = {"status": status, "duplicate": True, "late": False}
        assert await p.says(status, **content) == again
        # Nothing new was said; what was said stands.
        assert await p.says(status) == again
        assert await p.get() == before
        assert len(p.results()) == (status in ENDS)


async def test_a_cancel_is_repeated_as_it_was(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        fields = {"delegation": "d1", "status": "cancelled"}
        await p.leader.ask("delegation.update", **fields, error="not needed any more")
        for content in ({"error": "not needed any more"}, {}):
            again = await p.leader.ask("delegation.update", **fields, **content)
            assert again == {"status": "cancelled", "duplicate": True, "late": False}
        await p.leader.refused("invalid_transition", "delegation.update", **fields, error="other")
        assert (await p.get())["error"] == "not needed any more"
        assert p.results() == []


@pytest.mark.parametrize("status", ["queued", "dispatched", "in_progress"])
async def test_a_status_in_flight_is_not_said_again_with_other_content(
    tmp_path: Path, status: str
) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.bring_to(status)
        await p.worker.refused(
            "invalid_transition", "delegation.update", delegation="d1", status=status, result=1
        )
        assert "result" not in await p.get()


async def test_a_result_before_the_end_is_in_the_history(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.says("in_progress", result={"half": 1}, error="slow")
        shown = await p.get()
        assert "result" not in shown
        assert "error" not in shown
        entry = {"at": START, "status": "in_progress", "by": "worker"}
        assert shown["history"][-1] == {**entry, "result": {"half": 1}, "error": "slow"}
        assert p.results() == []


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("said", ["in_progress", "completed", "failed"])
@pytest.mark.parametrize("content", [{"result": [1]}, {"error": "e"}, {"result": None}])
async def test_what_comes_late_is_kept_and_told(
    tmp_path: Path, end: str, said: str, content: dict[str, Any]
) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.bring_to(end)
        p.results()
        before = await p.get()
        late = {"status": end, "duplicate": False, "late": True}
        assert await p.says(said, **content) == late
        shown = await p.get()
        entry = {"at": p.rig.clock.time, "status": said, "by": "worker", "late": True, **content}
        assert shown == {**before, "history": [*before["history"], entry]}
        expected = {"result": None, "error": None, "reason": before.get("reason")}
        told = {"delegation": "d1", "status": end, **expected, **content, "late": True}
        assert p.results() == [told]
        # The reply was lost, the worker says it again: it is told once.
        assert await p.says(said, **content) == {**late, "duplicate": True}
        assert await p.get() == shown
        assert p.results() == []
        assert await p.says(said, error="another") == late
        assert len(p.results()) == 1


@pytest.mark.parametrize("end", ENDS)
async def test_another_status_after_the_end_is_no_step(tmp_path: Path, end: str) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.bring_to(end)
        before = await p.get()
        for status in ("queued", "dispatched", "in_progress", "completed", "failed"):
            if status != end:
                await p.worker.refused(
                    "invalid_transition", "delegation.update", delegation="d1", status=status
                )
        if end != "cancelled":
            for content in ({}, {"error": "why"}):
                await p.leader.refused(
                    "invalid_transition",
                    "delegation.update",
                    delegation="d1",
                    status="cancelled",
                    **content,
                )
        assert await p.get() == before


async def test_a_result_has_a_bound(tmp_path: Path) -> None:
    async with parties(tmp_path, limits__body=20) as p:
        await p.open()
        await p.worker.refused(
            "too_large",
            "delegation.update",
            delegation="d1",
            status="completed",
            result="x" * 19,
        )
        await p.says("completed", result="x" * 18)


async def test_the_longest_result_with_the_longest_error_is_mailed(tmp_path: Path) -> None:
    async with parties(tmp_path, limits__body=2_000) as p:
        id, error = '"' * 128, "\x01" * 4_096
        await p.open(id)
        await p.says("failed", id, result="x" * 1_998, error=error)
        (body,) = p.rig.rows("SELECT length(body) FROM messages")
        assert body[0] <= 2_000 + 4_096
        (told,) = p.results()
        assert told["result"] == "x" * 1_998
        assert error.startswith(told["error"])
        assert (await p.get(id))["error"] == error


async def test_a_result_is_a_mail_of_the_broker_to_the_member(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        session = await p.rig.join("leader", role="session", session="s1")
        await session.ask("delegation.open", delegation="d1", callee="worker", task=1)
        await p.says("completed", result=1)
        assert session.mail() == []
        (mail,) = p.leader.mail()
        assert (mail["from"], mail["to"], mail["kind"]) == (
            "postroom",
            "leader",
            "delegation.result",
        )


async def test_a_result_reaches_a_full_mailbox(tmp_path: Path) -> None:
    async with parties(tmp_path, mail__max_depth=1) as p:
        await p.worker.ask("mail.send", to="leader", body=1)
        await p.open()
        await p.says("completed")
        assert len(p.results()) == 1


async def test_heartbeats(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        for status in ("queued", "dispatched", "in_progress"):
            if status != "queued":
                await p.says(status)
            await p.rig.advance(10)
            beat = await p.worker.ask("delegation.heartbeat", delegation="d1", note=f"at {status}")
            assert beat == {"status": status}
            assert (await p.get())["last_heartbeat_at"] == p.rig.clock.time
        await p.worker.ask("delegation.heartbeat", delegation="d1")
        history = (await p.get())["history"]
        assert [entry["note"] for entry in history if "note" in entry] == [
            "at queued",
            "at dispatched",
            "at in_progress",
        ]
        await p.leader.refused("forbidden", "delegation.heartbeat", delegation="d1")
        assert p.results() == []


@pytest.mark.parametrize("end", ENDS)
async def test_a_heartbeat_after_the_end_changes_nothing(tmp_path: Path, end: str) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.bring_to(end)
        before = await p.get()
        await p.rig.advance(10)
        beat = await p.worker.ask("delegation.heartbeat", delegation="d1", note="still here")
        assert beat == {"status": end}
        assert await p.get() == before


async def test_work_ends_while_the_broker_goes_away(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        p.rig.broker.executor.drain()
        await p.worker.ask("delegation.heartbeat", delegation="d1")
        await p.says("completed", result=1)
        assert (await p.get())["status"] == "completed"
        await p.leader.refused("draining", "delegation.open", callee="worker", task=1)
        assert len(p.results()) == 1
