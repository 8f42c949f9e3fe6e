"""The tables of dispatches: names, what they refuse, the way up, down and up with rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from dispatch_desk import FIELDS, KEY, create, holding, lease, worker
from rig import rig

from broker.store.migrate import Migrations
from broker.store.sqlite import connect

MAIL, FIRST_FORM, IDENTITY = "0002_mail.sql", "0003_dispatch.sql", "0004_dispatch_identity.sql"

MIGRATIONS = Migrations.discover()

MESH = """
INSERT INTO meshes (id, name, created_at) VALUES (1, 'default', 1);
INSERT INTO members (id, mesh_id, name, created_at) VALUES (1, 1, 'alice', 1);
"""
ROWS = """
INSERT INTO members (id, mesh_id, name, created_at) VALUES (2, 1, 'bob', 1);
INSERT INTO dispatch_prompt_refs (id, sha256, content, created_at) VALUES
    (1, printf('%064d', 1), x'01', 1), (2, printf('%064d', 2), x'02', 1);
INSERT INTO dispatch_queue (
    id, mesh_id, agent_type, prompt_ref_id, status, reason, attempt, max_attempts, created_by,
    created_at, finished_at, lease_owner, lease_member_id, lease_token, lease_expires_at
) VALUES
    (1, 1, 'tester', 1, 'pending', NULL, 1, 5, 1, 10, NULL, NULL, NULL, NULL, NULL),
    (2, 1, 'tester', 1, 'leased', NULL, 2, 5, 1, 20, NULL, 'bob', 2, 'token', 99),
    (3, 1, 'tester', 2, 'consumed', NULL, 1, 5, 1, 30, 35, 'bob', 2, 'other', 98),
    (7, 1, '', 2, 'failed', 'lease_expired', 6, 5, NULL, 40, 45, 'bob', 2, 'third', 97);
INSERT INTO dispatch_context (
    dispatch_id, parent_session_id, target_agent, dag_task_id, domain, context, created_at
) VALUES
    (1, 'ses', 'tester', 'TASK', 'default', '{}', 10),
    (2, 'ses', 'tester', 'TASK', 'default', NULL, 20),
    (3, NULL, 'tester', NULL, 'default', NULL, 30);
INSERT INTO dispatch_attempts (
    dispatch_id, attempt_number, status, lease_owner, lease_member_id, created_at, leased_at,
    finished_at, outcome, reason
) VALUES
    (1, 1, 'pending', NULL, NULL, 10, NULL, NULL, NULL, NULL),
    (2, 1, 'failed', 'bob', 2, 20, 21, 22, NULL, 'lease_expired'),
    (2, 2, 'leased', 'bob', 2, 22, 23, NULL, NULL, NULL),
    (3, 1, 'consumed', 'bob', 2, 30, 31, 35, 'true', NULL);
"""
"""Rows of the first form: in each state, with and without a context, with an empty type."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database with all migrations."""
    connection = connect((tmp_path / "postroom.db").absolute().as_uri())
    connection.execute("PRAGMA foreign_keys = ON")
    MIGRATIONS.up(connection, 1)
    yield connection
    connection.close()


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every table and index, by its words."""
    return connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE name LIKE '%dispatch%' ORDER BY name"
    ).fetchall()


def all_of(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def test_the_names(database: sqlite3.Connection) -> None:
    words = dict(schema(database))
    assert {name for name in words if not name.startswith(("sqlite_", "dispatch_queue_"))} == {
        "dispatch_attempts",
        "dispatch_context",
        "dispatch_prompt_refs",
        "dispatch_queue",
        "idx_dispatch_queue_exact_pending",
        "idx_dispatch_queue_key",
    }
    assert words["idx_dispatch_queue_key"] == (
        "CREATE UNIQUE INDEX idx_dispatch_queue_key ON dispatch_queue(mesh_id, dispatch_key)"
    )
    assert "UNIQUE (mesh_id, parent_session_id, agent_type, dag_task_id)" in words["dispatch_queue"]
    indexed = database.execute("PRAGMA index_info (idx_dispatch_queue_exact_pending)").fetchall()
    assert [row[2] for row in indexed] == ["status", "agent_type", "dag_task_id", "prompt_ref_id"]
    columns = database.execute("PRAGMA table_info (dispatch_queue)").fetchall()
    needed = {name for _, name, _, not_null, *_ in columns if not_null}
    assert needed >= {*FIELDS, "dispatch_key", "prompt_ref_id", "status", "mesh_id"}


def test_up_down_and_up_leave_the_same_schema(database: sqlite3.Connection) -> None:
    whole = schema(database)
    MIGRATIONS.down(database, to=FIRST_FORM)
    first = schema(database)
    MIGRATIONS.down(database, to=MAIL)
    assert schema(database) == []
    MIGRATIONS.up(database, 1, to=FIRST_FORM)
    assert schema(database) == first
    MIGRATIONS.up(database, 1)
    assert schema(database) == whole


def test_rows_without_identity_become_failed(database: sqlite3.Connection) -> None:
    MIGRATIONS.down(database, to=FIRST_FORM)
    database.executescript(MESH + ROWS)
    kept = {
        table: all_of(database, table) for table in ("dispatch_prompt_refs", "dispatch_context")
    }
    MIGRATIONS.up(database, 1)
    assert all(all_of(database, table) == rows for table, rows in kept.items())
    rows = database.execute(
        "SELECT id, status, reason, dispatch_key, parent_session_id, agent_type, dag_task_id,"
        " attempt, max_attempts, created_by, lease_owner, lease_token FROM dispatch_queue"
    ).fetchall()
    assert [row[:3] for row in rows] == [(id, "failed", "legacy") for id in (1, 2, 3, 7)]
    assert [row[3:] for row in rows] == [
        ("legacy:1", "legacy\x1f1", "tester", "TASK", 1, 5, 1, None, None),
        ("legacy:2", "legacy\x1f2", "tester", "TASK", 2, 5, 1, "bob", None),
        ("legacy:3", "legacy\x1f3", "tester", "legacy", 1, 5, 1, "bob", None),
        ("legacy:7", "legacy\x1f7", "legacy", "legacy", 6, 6, None, "bob", None),
    ]
    finished = database.execute("SELECT finished_at FROM dispatch_queue").fetchall()
    assert finished[2:] == [(35,), (45,)]
    assert all(at > 1_700_000_000_000 for (at,) in finished[:2])
    attempts = database.execute(
        "SELECT dispatch_id, attempt_number, status, reason, outcome FROM dispatch_attempts"
    ).fetchall()
    assert attempts == [
        (1, 1, "failed", "legacy", None),
        (2, 1, "failed", "lease_expired", None),
        (2, 2, "failed", "legacy", None),
        (3, 1, "consumed", None, "true"),
    ]
    once = all_of(database, "dispatch_queue")
    for _ in range(2):
        MIGRATIONS.down(database, to=FIRST_FORM)
        assert (
            database.execute("SELECT status, reason FROM dispatch_queue").fetchall()
            == [("failed", "legacy")] * 4
        )
        MIGRATIONS.up(database, 1)
        assert all_of(database, "dispatch_queue") == once
    next_id = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'dispatch_queue'")
    assert next_id.fetchone() == (7,)


async def test_legacy_rows_are_shown_and_never_leased(tmp_path: Path) -> None:
    async with rig(tmp_path):
        pass
    connection = connect((tmp_path / "postroom.db").absolute().as_uri())
    MIGRATIONS.down(connection, to=FIRST_FORM)
    connection.executescript(ROWS)
    connection.close()
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        page = await owner.ask("dispatch.list")
        assert [one["status"] for one in page["dispatches"]] == ["failed"] * 4
        shown = page["dispatches"][1]
        assert [attempt.get("reason") for attempt in shown["attempts"]] == [
            "lease_expired",
            "legacy",
        ]
        assert "outcome" not in page["dispatches"][2]
        for one in page["dispatches"]:
            asked = {"dispatch_key": one["dispatch_key"], "call_id": "c"}
            error = await owner.refused("dispatch_failed", "dispatch.lease", **asked)
            assert error["detail"] == {"status": "failed"}
            held = {"dispatch": one["dispatch"], "lease_token": "token"}
            await owner.refused("stale_lease", "dispatch.consume", **held)
            await owner.refused("already_finished", "dispatch.cancel", dispatch=one["dispatch"])
        assert (await create(owner))["dispatch"] == "w8"


async def test_what_had_an_identity_loses_it_on_the_way_down(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        for task in ("TASK-1", "pending", "leased"):
            await create(alice, dag_task_id=task, context=task)
        await bob.ask("dispatch.consume", **holding(await lease(bob)), outcome="done")
        leased = (await create(alice, dag_task_id="leased"))["dispatch_key"]
        await lease(bob, dispatch_key=leased)
    connection = connect((tmp_path / "postroom.db").absolute().as_uri())
    MIGRATIONS.down(connection, to=FIRST_FORM)
    kept = "SELECT id, agent_type, status FROM dispatch_queue ORDER BY id"
    assert connection.execute(kept).fetchall() == [
        (1, "Super-Admin", "consumed"),
        (2, "Super-Admin", "pending"),
        (3, "Super-Admin", "leased"),
    ]
    MIGRATIONS.up(connection, 1)
    assert {row[2] for row in connection.execute(kept)} == {"failed"}
    assert connection.execute("SELECT outcome FROM dispatch_attempts").fetchone() == (b'"done"',)
    connection.close()
    async with rig(tmp_path) as r:
        alice = await r.join("owner")
        assert await create(alice) == {
            "dispatch": "w4",
            "dispatch_key": KEY,
            "prompt_sha256": (await create(alice))["prompt_sha256"],
            "status": "pending",
            "attempt": 1,
            "created": True,
        }


@pytest.mark.parametrize(
    "change",
    [
        "status = 'done'",
        "status = 'failed'",
        "status = 'failed', reason = 'ttl', finished_at = 1",
        "status = 'failed', reason = 'because', finished_at = 1",
        "status = 'expired', reason = 'cancelled', finished_at = 1",
        "status = 'consumed'",
        "reason = 'legacy'",
        "status = 'leased'",
        "status = 'leased', lease_token = 't', lease_expires_at = 1",
        "attempt = 0",
        "attempt = max_attempts + 1",
        "finished_at = 1",
        "dispatch_key = 'short'",
        "dispatch_key = NULL",
        "parent_session_id = NULL",
        "parent_session_id = ''",
        "agent_type = NULL",
        "agent_type = ''",
        "dag_task_id = NULL",
        "dag_task_id = ''",
        "prompt_ref_id = NULL",
        "prompt_ref_id = 99",
        "mesh_id = 99",
        "dispatch_key = (SELECT dispatch_key FROM dispatch_queue WHERE id = 2)",
        "dag_task_id = 'TASK-2'",
    ],
)
async def test_what_the_queue_refuses(tmp_path: Path, change: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        await create(alice)
        await create(alice, dag_task_id="TASK-2")
    connection = connect((tmp_path / "postroom.db").absolute().as_uri())
    connection.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"UPDATE dispatch_queue SET {change} WHERE id = 1")
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "status = 'done'",
        "status = 'failed', finished_at = 1",
        "status = 'failed', reason = 'because', finished_at = 1",
        "status = 'failed', reason = 'reported', finished_at = 1",
        "given_reason = 'x'",
        "status = 'consumed'",
        "status = 'leased'",
        "outcome = x'00'",
        "retryable = 2",
        "attempt_number = 0",
        "dispatch_id = 99",
    ],
)
async def test_what_the_attempts_refuse(tmp_path: Path, change: str) -> None:
    async with rig(tmp_path) as r:
        await create(await r.join("alice"))
    connection = connect((tmp_path / "postroom.db").absolute().as_uri())
    connection.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"UPDATE dispatch_attempts SET {change} WHERE dispatch_id = 1")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "INSERT INTO dispatch_attempts (dispatch_id, attempt_number, created_at)"
            " VALUES (1, 1, 1)"
        )
    connection.close()
