"""The doctor on dispatches: what is damaged is found, what can be mended is, and only if wished."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dispatch_desk import KEY, create, holding, lease, worker
from rig import START, rig

from broker import maintenance
from broker.areas.dispatch import doctor
from broker.doctor import CHECKS, Case, Finding
from broker.store.sqlite import connect
from broker.store.stopped import Transaction, transaction

NOW = START + 3_600_000
Found = tuple[str, str, bool]


async def stock(directory: Path) -> None:
    """A database with a dispatch in each state: w1 pending ... w7 consumed at the second try."""
    async with rig(directory) as r:
        alice, bob = await r.join("alice"), await worker(r)
        tasks = ["TASK-1", "leased", "consumed", "failed", "expired", "cancelled", "twice"]
        keys = {}
        for task in tasks:
            made = await create(
                alice, dag_task_id=task, ttl_ms=5_000 if task == "expired" else None
            )
            keys[task] = made["dispatch_key"]

        async def held(task: str) -> dict[str, str]:
            return holding(await lease(bob, dispatch_key=keys[task]))

        await bob.ask("dispatch.consume", **await held("consumed"), outcome=1)
        await bob.ask("dispatch.fail", **await held("failed"), reason="x")
        await alice.ask("dispatch.cancel", dispatch="w6")
        await bob.ask("dispatch.fail", **await held("twice"), reason="x", retryable=True)
        await bob.ask("dispatch.consume", **await held("twice"))
        await r.advance(5_000)
        await lease(bob, dispatch_key=keys["leased"], lease_ms=3_600_000)


@contextmanager
def opened(directory: Path) -> Iterator[Transaction]:
    """The database of the stopped broker, as the doctor has it."""
    with closing(connect((directory / "postroom.db").absolute().as_uri())) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        with transaction(connection, change=True) as database:
            yield database


def findings(database: Transaction, now: int = NOW) -> list[tuple[str, Finding]]:
    case = Case(database, now)
    checks = {name: check for name, check in CHECKS.items() if name.startswith("dispatch.")}
    return [(name, one) for name, check in checks.items() for one in check(case)]


def found(database: Transaction, now: int = NOW) -> list[Found]:
    """What is found: by which check, of what, and whether it can be mended."""
    return [(name, one.subject, one.repair is not None) for name, one in findings(database, now)]


async def test_a_sound_database(tmp_path: Path) -> None:
    await stock(tmp_path)
    with opened(tmp_path) as database:
        assert findings(database) == []


DAMAGE: list[tuple[str, list[Found]]] = [
    (
        "UPDATE dispatch_prompt_refs SET content = x'00'",
        [("dispatch.prompts", "prompt 1", False)],
    ),
    (
        "INSERT INTO dispatch_prompt_refs (sha256, content, created_at) VALUES"
        " ('6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d', x'00', 1)",
        [("dispatch.prompts", "prompt 2", True)],
    ),
    (
        "UPDATE dispatch_queue SET dispatch_key = replace(dispatch_key, 'e', 'f') WHERE id = 1",
        [("dispatch.keys", "w1", True)],
    ),
    (
        "UPDATE dispatch_queue SET agent_type = 'Super-Admin ' WHERE id = 2",
        [("dispatch.keys", "w2", True)],
    ),
    ("DELETE FROM dispatch_context WHERE dispatch_id = 3", [("dispatch.orphans", "w3", False)]),
    (
        "UPDATE dispatch_queue SET prompt_ref_id = 9 WHERE id = 3",
        [("dispatch.orphans", "w3", False)],
    ),
    (
        "DELETE FROM dispatch_queue WHERE id = 7",
        [
            ("dispatch.orphans", "context of w7", True),
            ("dispatch.orphans", "2 attempts at w7", True),
        ],
    ),
    (
        "DELETE FROM dispatch_attempts WHERE dispatch_id = 7 AND attempt_number = 1",
        [("dispatch.attempts", "w7", True)],
    ),
    (
        "DELETE FROM dispatch_attempts WHERE dispatch_id = 7 AND attempt_number = 2",
        [("dispatch.attempts", "w7", False)],
    ),
    ("DELETE FROM dispatch_attempts WHERE dispatch_id = 1", [("dispatch.attempts", "w1", True)]),
    (
        "UPDATE dispatch_attempts SET attempt_number = 3"
        " WHERE dispatch_id = 7 AND attempt_number = 2",
        [("dispatch.attempts", "w7", False), ("dispatch.attempts", "w7", False)],
    ),
    (
        "UPDATE dispatch_attempts SET status = 'pending', reason = NULL, given_reason = NULL,"
        " finished_at = NULL WHERE dispatch_id = 7 AND attempt_number = 1",
        [("dispatch.attempts", "w7", False)],
    ),
    (
        "UPDATE dispatch_queue SET status = 'cancelled', reason = 'cancelled', finished_at = 1"
        " WHERE id = 1",
        [("dispatch.attempts", "w1", False)],
    ),
]


@pytest.mark.parametrize(("damage", "expected"), DAMAGE)
async def test_what_is_found(tmp_path: Path, damage: str, expected: list[Found]) -> None:
    await stock(tmp_path)
    with opened(tmp_path) as database:
        database.run(damage)
        before = everything(database)
        assert found(database) == expected
        assert everything(database) == before, "looking changes nothing"
        for _, one in findings(database):
            if one.repair is not None:
                one.repair.do(database)
        assert found(database) == [one for one in expected if not one[2]]


def everything(database: Transaction) -> list[list[tuple[Any, ...]]]:
    return [
        database.all(f"SELECT * FROM {table}")
        for table in ("dispatch_prompt_refs", "dispatch_queue", "dispatch_context")
    ]


async def test_two_keys_that_were_exchanged(tmp_path: Path) -> None:
    await stock(tmp_path)
    with opened(tmp_path) as database:
        keys: dict[int, str] = dict(
            database.all("SELECT id, dispatch_key FROM dispatch_queue WHERE id < 3")
        )
        for id, key in ((1, "x" * 64), (2, keys[1]), (1, keys[2])):
            database.run("UPDATE dispatch_queue SET dispatch_key = ? WHERE id = ?", (key, id))
        assert [one[:2] for one in found(database)] == [
            ("dispatch.keys", "w1"),
            ("dispatch.keys", "w2"),
        ]
        for _, one in findings(database):
            assert one.repair is not None
            one.repair.do(database)
        assert len(found(database)) == 2, "neither may take what the other has"


async def test_leases_past_their_end(tmp_path: Path) -> None:
    await stock(tmp_path)
    end = START + 5_000 + 3_600_000
    with opened(tmp_path) as database:
        assert found(database, end - 1) == []
        ((name, finding),) = findings(database, end + 7)
        assert (name, finding.subject) == ("dispatch.leases", "w2")
        assert "by 7 ms" in finding.problem
        assert finding.repair is not None
        finding.repair.do(database)
        assert found(database, end + 7) == []
        assert database.all("SELECT status, attempt FROM dispatch_queue WHERE id = 2") == [
            ("pending", 2)
        ]
    async with rig(tmp_path) as r:
        bob = await r.join("owner")
        shown = await bob.ask("dispatch.get", dispatch="w2")
        leased = await lease(bob, dispatch_key=shown["dispatch_key"])
        assert leased["attempt"] == 2


async def test_the_last_attempt_is_left_to_the_broker(tmp_path: Path) -> None:
    await stock(tmp_path)
    with opened(tmp_path) as database:
        database.run("UPDATE dispatch_queue SET max_attempts = attempt")
        assert found(database, NOW * 2) == [("dispatch.leases", "w2", False)]


async def test_legacy_rows_have_no_key_to_compute(tmp_path: Path) -> None:
    await stock(tmp_path)
    with opened(tmp_path) as database:
        database.run(
            "UPDATE dispatch_queue SET dispatch_key = 'legacy:' || id, status = 'failed',"
            " reason = 'legacy', finished_at = 1 WHERE id IN (1, 3)"
        )
        assert found(database) == []
        database.run("UPDATE dispatch_queue SET dispatch_key = 'legacy:5' WHERE id = 5")
        assert found(database) == [("dispatch.keys", "w5", True)]


async def test_as_text_and_as_json_and_mended_only_if_wished(tmp_path: Path) -> None:
    await stock(tmp_path)
    with closing(sqlite3.connect(tmp_path / "postroom.db")) as connection:
        connection.execute("UPDATE dispatch_queue SET dispatch_key = ? WHERE id = 1", ("f" * 64,))
        connection.commit()
    for repair in (False, True):
        report = maintenance.diagnose(tmp_path, repair=repair)
        assert report.checks["dispatch.keys"] == 1
        assert report.ok == repair
        (finding,) = [one for one in report.findings if one.check == "dispatch.keys"]
        assert finding.repaired == repair
        assert "dispatch.keys: w1: its key" in report.told()
        assert msgspec.json.decode(msgspec.json.encode(report))["checks"]["dispatch.keys"] == 1
    assert maintenance.diagnose(tmp_path, repair=False).ok
    with opened(tmp_path) as database:
        assert database.one("SELECT dispatch_key FROM dispatch_queue WHERE id = 1") == (KEY,)


def test_every_check_has_its_name() -> None:
    assert doctor.CHUNK
    assert {name for name in CHECKS if name.startswith("dispatch.")} == {
        "dispatch.attempts",
        "dispatch.files",
        "dispatch.keys",
        "dispatch.leases",
        "dispatch.orphans",
        "dispatch.prompts",
    }
