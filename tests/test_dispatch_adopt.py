"""Files of older programs: kept as failed diagnostics, never as work, and only once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from dispatch_desk import FIELDS, KEY, PROMPT, PROMPT_SHA256, create, lease
from rig import rig

from broker import maintenance
from broker.areas.dispatch import adopt

WHOLE = {**FIELDS, "prompt": PROMPT}


async def found_broker(directory: Path) -> None:
    async with rig(directory):
        pass


def put(directory: Path, **files: Any) -> Path:
    """A folder with these files; what is no bytes is written as JSON."""
    folder = directory / "old"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        raw = content if isinstance(content, bytes) else msgspec.json.encode(content)
        (folder / f"{name}.json").write_bytes(raw)
    return folder


def examined(directory: Path, folder: Path, *, repair: bool) -> dict[str, tuple[str, bool]]:
    """What is said of each file, and whether that is mended."""
    report = maintenance.diagnose(directory, repair=repair, import_dispatches=folder)
    return {
        one.subject: (one.problem, one.repaired)
        for one in report.findings
        if one.check == "dispatch.files"
    }


async def rows(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    async with rig(directory) as r:
        return r.rows(sql)


COUNT = "SELECT count(*) FROM dispatch_queue"


async def test_dry_then_imported_then_nothing(tmp_path: Path) -> None:
    await found_broker(tmp_path)
    folder = put(
        tmp_path,
        whole={**WHOLE, "context": {"a": 1}, "status": "running", "error": "died", "extra": 1},
        part={"dispatch_key": "old-7", "agent_type": "tester", "status": "queued"},
    )
    missing = {"whole.json": "is not in the database", "part.json": "is not in the database"}
    dry = examined(tmp_path, folder, repair=False)
    assert dry == {name: (problem, False) for name, problem in missing.items()}
    assert await rows(tmp_path, COUNT) == [(0,)]
    wet = examined(tmp_path, folder, repair=True)
    assert wet == {name: (problem, True) for name, problem in missing.items()}
    everything = "SELECT * FROM dispatch_queue, dispatch_attempts, dispatch_context ORDER BY 1, 2"
    once = await rows(tmp_path, everything)
    for repair in (True, False):
        assert examined(tmp_path, folder, repair=repair) == {}
        assert await rows(tmp_path, everything) == once
    assert maintenance.diagnose(tmp_path, repair=False, import_dispatches=folder).ok


async def test_what_becomes_of_them(tmp_path: Path) -> None:
    await found_broker(tmp_path)
    part = {"agent_type": "tester", "prompt": "do it", "status": "pending"}
    folder = put(
        tmp_path,
        a={**WHOLE, "context": {"a": 1}, "status": "running", "error": "died", "created_at": 5},
        b=part,
    )
    examined(tmp_path, folder, repair=True)
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        whole, other = (await owner.ask("dispatch.list"))["dispatches"]
        assert (whole["dispatch_key"], whole["status"], whole["context"]) == (
            KEY,
            "failed",
            {"a": 1},
        )
        assert whole["prompt_sha256"] == PROMPT_SHA256
        assert whole["created_at"] == 5
        (attempt,) = whole["attempts"]
        assert attempt["reason"] == "imported"
        assert attempt["error"] == "imported from a.json; status: running; error: died"
        assert (other["status"], other["context"]) == ("failed", part)
        assert other["dispatch_key"].startswith("imported:")
        assert other["parent_session_id"].startswith("unknown\x1f")
        for one in (whole, other):
            asked = {"dispatch_key": one["dispatch_key"], "call_id": "c"}
            error = await owner.refused("dispatch_failed", "dispatch.lease", **asked)
            assert error["detail"] == {"status": "failed"}
        assert owner.mail() == []


async def test_who_wants_it_done_creates_it(tmp_path: Path) -> None:
    await found_broker(tmp_path)
    folder = put(tmp_path, whole={**WHOLE, "status": "pending"})
    examined(tmp_path, folder, repair=True)
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        again = await create(owner)
        assert (again["status"], again["created"]) == ("failed", False)
        again = await create(owner, retry=True)
        assert (again["status"], again["attempt"]) == ("pending", 2)
        assert (await lease(owner))["prompt"] == PROMPT
        await owner.refused("already_leased", "dispatch.cancel", dispatch="w1")
    assert examined(tmp_path, folder, repair=True) == {}


async def test_what_is_there_already(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await create(await r.join("alice"))
    folder = put(tmp_path, same=WHOLE, other={**WHOLE, "prompt": "another"})
    said = examined(tmp_path, folder, repair=True)
    assert said == {"other.json": ("is not in the database", True)}
    statuses = await rows(tmp_path, "SELECT status, dispatch_key FROM dispatch_queue ORDER BY id")
    assert statuses[0] == ("pending", KEY), "what is in the database is not touched"
    assert statuses[1][0] == "failed"
    assert statuses[1][1].startswith("imported:"), "its task has another prompt here"
    assert examined(tmp_path, folder, repair=True) == {}


async def test_files_of_one_dispatch(tmp_path: Path) -> None:
    await found_broker(tmp_path)
    folder = put(
        tmp_path,
        one={**WHOLE, "status": "a"},
        two={**WHOLE, "status": "b"},
        three={**WHOLE, "prompt": "other"},
        four={"prompt": "x"},
        five={"prompt": "x"},
    )
    examined(tmp_path, folder, repair=True)
    assert await rows(tmp_path, COUNT) == [(3,)]
    assert examined(tmp_path, folder, repair=True) == {}
    assert maintenance.diagnose(tmp_path, repair=False).ok


CONTRADICTIONS: list[dict[str, Any]] = [
    {"dispatch_key": "0" * 64},
    {"prompt_sha256": "0" * 64},
    {"agent_type": ""},
    {"agent_type": "a\0b"},
    {"agent_type": 7},
    {"dag_task_id": "x" * 129},
    {"parent_session_id": None},
    {"prompt": ""},
    {"prompt": ["x"]},
]


@pytest.mark.parametrize("change", CONTRADICTIONS)
async def test_no_key_is_made_up(tmp_path: Path, change: dict[str, Any]) -> None:
    await found_broker(tmp_path)
    folder = put(tmp_path, odd={**WHOLE, **change, "created_at": "yesterday", "mesh": None})
    assert examined(tmp_path, folder, repair=True) == {"odd.json": ("is not in the database", True)}
    ((key, status),) = await rows(tmp_path, "SELECT dispatch_key, status FROM dispatch_queue")
    assert (key[:9], status) == ("imported:", "failed")
    assert examined(tmp_path, folder, repair=True) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"name": "package"}',
        b"\xff\xfe",
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "context": "\xff"}',
        b'{"prompt": "x", "context": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_what_is_no_dispatch(tmp_path: Path, content: bytes) -> None:
    await found_broker(tmp_path)
    folder = put(tmp_path, odd=content)
    for repair in (False, True):
        ((_, repaired),) = examined(tmp_path, folder, repair=repair).values()
        assert not repaired
    assert await rows(tmp_path, COUNT) == [(0,)]


async def test_other_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig(tmp_path) as r:
        await (await r.join("owner")).ask("mesh.create", mesh="other")
    folder = put(tmp_path, there={**WHOLE, "mesh": "other"}, nowhere={**WHOLE, "mesh": "x"})
    (folder / "notes.txt").write_text("no dispatch")
    (folder / "folder.json").mkdir()
    said = examined(tmp_path, folder, repair=True)
    assert said.pop("folder.json")[0].startswith("cannot be read")
    assert said == {
        "there.json": ("is not in the database", True),
        "nowhere.json": ("there is no mesh 'x'", False),
    }
    assert await rows(tmp_path, "SELECT mesh_id FROM dispatch_queue") == [(2,)]
    monkeypatch.setattr(adopt, "MOST_BYTES", 10)
    said = examined(tmp_path, folder, repair=False)
    assert said["there.json"][0] == "has more than 10 bytes"
    gone = tmp_path / "gone"
    assert examined(tmp_path, gone, repair=True) == {str(gone): ("there is no such folder", False)}


async def test_a_context_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    await found_broker(tmp_path)
    folder = put(
        tmp_path,
        whole={**WHOLE, "context": "c" * adopt.MOST_CONTEXT},
        part={"prompt": "p" * adopt.MOST_CONTEXT},
    )
    examined(tmp_path, folder, repair=True)
    assert await rows(tmp_path, "SELECT context FROM dispatch_context") == [(None,), (None,)]
    contents = await rows(tmp_path, "SELECT max(length(content)) FROM dispatch_prompt_refs")
    assert contents == [(adopt.MOST_CONTEXT,)]
