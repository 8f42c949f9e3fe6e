"""Looking: one whole, lists by page, counts; and everything fits its frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from delegation_parties import DEADLINE_MS, Parties, parties
from rig import START, Peer

from broker.areas.delegations import figures, inspect
from broker.areas.delegations.states import STATUSES
from broker.store.sqlite import Look


async def listed(peer: Peer, **fields: Any) -> list[str]:
    """The ids on all pages of a list."""
    found: list[str] = []
    after = None
    while True:
        page = await peer.ask("delegation.list", after=after, **fields)
        found += [one["delegation"] for one in page["delegations"]]
        after = page["next"]
        if after is None:
            return found


async def fill(p: Parties) -> None:
    """Some delegations this way and that."""
    for number in range(6):
        await p.open(f"down{number}")
        await p.rig.advance(1)
    for number in range(3):
        await p.worker.ask(
            "delegation.open", delegation=f"up{number}", callee="leader", task=number
        )
    await p.leader.ask("delegation.open", delegation="self", callee="leader", task=1)


async def test_lists_are_newest_first(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await fill(p)
        down = [f"down{number}" for number in range(5, -1, -1)]
        up = ["up2", "up1", "up0"]
        other = await p.rig.join("other")
        owner = await p.rig.join("owner", observe=True)
        for limit in (1, 2, 3, 200):
            assert await listed(p.leader, limit=limit) == [*up, "self", *down]
            assert await listed(p.leader, limit=limit, **{"as": "caller"}) == ["self", *down]
            assert await listed(p.leader, limit=limit, **{"as": "callee"}) == [*up, "self"]
            assert await listed(p.worker, limit=limit) == [*up, *down]
            assert await listed(p.worker, limit=limit, **{"as": "callee"}) == down
            assert await listed(other, limit=limit) == []
            assert await listed(owner, limit=limit) == [*up, "self", *down]
            assert await listed(owner, limit=limit, **{"as": "caller"}) == []


async def test_lists_of_one_status(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await fill(p)
        for number, status in enumerate(("dispatched", "in_progress", "completed", "cancelled")):
            await p.bring_to(status, f"down{number}")
        owner = await p.rig.join("owner", observe=True)
        for peer in (p.leader, p.worker, owner):
            for limit in (1, 200):
                assert await listed(peer, limit=limit, status="in_progress") == ["down1"]
                assert await listed(peer, limit=limit, status="stuck") == []
        assert await listed(owner, status="queued") == [
            "up2",
            "up1",
            "up0",
            "self",
            "down5",
            "down4",
        ]
        assert await listed(p.worker, status="queued", limit=1, **{"as": "callee"}) == [
            "down5",
            "down4",
        ]


async def test_a_list_shows_previews(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open(task={"a": "é" * 3_000}, key="k")
        await p.says("failed", result="€" * 3_000, error="why")
        (one,) = (await p.leader.ask("delegation.list"))["delegations"]
        assert one == {
            "delegation": "d1",
            "caller": "leader",
            "callee": "worker",
            "task_preview": '{"a":"' + "é" * 2_045,
            "status": "failed",
            "result_preview": '"' + "€" * 1_365,
            "error": "why",
            "key": "k",
            "deadline_at": START + DEADLINE_MS,
            "created_at": START,
            "updated_at": START,
            "finished_at": START,
        }


BROKEN = ("", "x", "delegation:", "delegation:x", "delegation:.x", "delegation:1", "member:1.x")
BROKEN_TIMES = ("-1", "9" * 30, "\u0661", "1_0", " 1")


@pytest.mark.parametrize("after", [*BROKEN, *(f"delegation:{at}.x" for at in BROKEN_TIMES)])
async def test_a_broken_cursor(tmp_path: Path, after: str) -> None:
    async with parties(tmp_path) as p:
        error = await p.leader.refused("bad_request", "delegation.list", after=after)
        assert "after" in error["message"]


async def test_ids_of_any_kind_are_good_for_a_cursor(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        ids = sorted(["...", ":", "\x00", "😀" * 128, "\uffff", "a.b:c", " "], reverse=True)
        for id in ids:
            await p.open(id)
        assert await listed(p.leader, limit=1) == ids


async def test_a_page_fits_a_frame(tmp_path: Path) -> None:
    async with parties(tmp_path, limits__frame=200_000, limits__body=60_000) as p:
        for number in range(50):
            await p.open(f"d{number}", task='"' * 5_000)
            await p.says("failed", f"d{number}", result='"' * 5_000, error='"' * 4_096)
        p.leader.line.raw.clear()
        assert len(await listed(p.leader)) == 50
        pages = [len(raw) for raw in p.leader.line.raw]
        assert len(pages) > 3
        assert max(pages) <= 200_000
        assert min(pages[:-1]) > 150_000


async def test_one_delegation_fits_a_frame(tmp_path: Path) -> None:
    async with parties(tmp_path, limits__frame=200_000, limits__body=60_000) as p:
        await p.open(task="x" * 59_000, deadline_ms=10**9)
        for number in range(60):
            await p.worker.ask(
                "delegation.heartbeat", delegation="d1", note=f"{number}" + "\x01" * 4_000
            )
        await p.says("completed", result="y" * 59_000)
        await p.says("completed", result="late" * 14_000)
        await p.says("completed", result="short")
        p.leader.line.raw.clear()
        shown = await p.get()
        (raw,) = p.leader.line.raw
        assert 170_000 < len(raw) <= 200_000
        assert len(shown["result"]) == 59_000
        newest = shown["history"][-3:]
        assert [(one["status"], "late" in one, one.get("result")) for one in newest] == [
            ("completed", False, None),
            ("completed", True, "late" * 14_000),
            ("completed", True, "short"),
        ]
        await p.says("completed", result="more" * 14_000)
        newest = (await p.get())["history"]
        assert [len(one.get("result", "")) for one in newest[-4:]] == [0, 0, 5, 56_000]


async def test_a_long_history_shows_its_newest_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "ENTRIES", 3)
    async with parties(tmp_path) as p:
        await p.open()
        for note in ("a", "b"):
            await p.worker.ask("delegation.heartbeat", delegation="d1", note=note)
        await p.says("in_progress")
        await p.says("completed")
        history = (await p.get())["history"]
        assert [(one["status"], one.get("note")) for one in history] == [
            ("queued", "b"),
            ("in_progress", None),
            ("completed", None),
        ]


async def test_stats(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        none = dict.fromkeys(STATUSES, 0)
        other = await p.rig.join("other")
        stats = await other.ask("delegation.stats")
        assert stats == {"by_status": none, "oldest_in_flight_ms": None}
        assert list(stats["by_status"]) == list(STATUSES)
        for status in STATUSES:
            await p.open(status, deadline_ms=10**9)
            await p.rig.advance(1)
        for status in STATUSES:
            await p.bring_to(status, status)
        await p.rig.advance(500)
        # What was in progress has become stuck with the other one.
        assert await other.ask("delegation.stats") == {
            "by_status": {**none, **dict.fromkeys(STATUSES, 1), "in_progress": 0, "stuck": 2},
            "oldest_in_flight_ms": p.rig.clock.time - START,
        }
        await p.says("completed", "queued")
        age = (await other.ask("delegation.stats"))["oldest_in_flight_ms"]
        assert age == p.rig.clock.time - START - 1
        await p.says("completed", "dispatched")
        assert (await other.ask("delegation.stats"))["oldest_in_flight_ms"] is None
        assert p.counts_agree()


async def test_figures_are_of_one_mesh(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open("d1")
        await p.open("d2")
        await p.says("failed", "d2")
        look = p.rig.broker.store.reader.look
        seen = await look(lambda look: (figures(look, 1), figures(look, 2)), 1)
        assert seen[0] == {**dict.fromkeys(STATUSES, 0), "queued": 1, "failed": 1}
        assert seen[1] == dict.fromkeys(STATUSES, 0)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (inspect.AS_CALLER, "idx_delegations_caller_created (mesh_id=? AND caller_id=?"),
        (inspect.AS_CALLEE, "idx_delegations_callee_created (mesh_id=? AND callee_id=?"),
        (inspect.EVERYBODYS, "idx_delegations_created (mesh_id=?"),
        (inspect.EVERYBODYS_BY_STATUS, "idx_delegations_status_created (mesh_id=? AND status=?"),
        (inspect.OLDEST, "idx_delegations_status_created (mesh_id=? AND status=?)"),
        (inspect.STEPS, "delegation_history_delegation (mesh_id=? AND delegation_id=?)"),
    ],
)
async def test_a_page_reads_only_itself(tmp_path: Path, statement: str, index: str) -> None:
    async with parties(tmp_path) as p:

        def plan(look: Look) -> list[str]:
            rows = look.all(f"EXPLAIN QUERY PLAN {statement}", (0,) * statement.count("?"))
            return [row[3] for row in rows]

        found = await p.rig.broker.store.reader.look(plan, 1)
        assert len(found) == 1, found
        assert index in found[0]
