"""The tables: up, down and up again with rows in them, and what they refuse."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from delegation_parties import parties
from rig import Rig

from broker.areas.delegations.states import STATUSES
from broker.config import Settings
from broker.store.migrate import Migrations
from broker.store.sqlite import connect

FILE = "0005_delegations.sql"
PART_OF = "%delegation%"
COLUMNS = {
    *("id", "caller_id", "callee_id", "task_preview", "result_preview", "error_detail", "status"),
    *("last_heartbeat", "deadline", "retry_count", "idempotency_key"),
    *("created_at", "updated_at", "finished_at"),
}


def schema(connection: sqlite3.Connection, like: str = "%") -> list[tuple[str, str, str]]:
    """What there is, with its words."""
    return connection.execute(
        "SELECT type, name, sql FROM sqlite_master"
        " WHERE sql IS NOT NULL AND tbl_name LIKE ? ORDER BY name",
        (like,),
    ).fetchall()


def before(migrations: Migrations) -> str:
    """The file that is applied before this one."""
    names = [one.filename for one in migrations]
    return names[names.index(FILE) - 1]


async def used(directory: Path) -> None:
    """Leave a database with a delegation in each status."""
    async with parties(directory) as p:
        for status in STATUSES:
            await p.open(status, deadline_ms=10**9, key=f"key of {status}", send=status == "failed")
            await p.bring_to(status, status)
        await p.says("completed", "cancelled", result="late")


def ledger(path: Path) -> sqlite3.Connection:
    """The database, as the broker opens it."""
    connection = connect(path.absolute().as_uri())
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


async def test_up_down_and_up_again(tmp_path: Path) -> None:
    await used(tmp_path)
    connection = ledger(tmp_path / "postroom.db")
    migrations = Migrations.discover()
    whole = schema(connection)
    messages = connection.execute("SELECT * FROM messages ORDER BY id").fetchall()
    assert len(messages) > 1
    migrations.down(connection, before(migrations))
    assert schema(connection, PART_OF) == []
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("SELECT * FROM messages ORDER BY id").fetchall() == messages
    migrations.up(connection, 1)
    assert schema(connection) == whole
    assert connection.execute("SELECT count(*) FROM delegations").fetchone() == (0,)
    connection.close()
    rig = Rig(tmp_path, Settings(), connect)
    await rig.start()
    owner = await rig.join("owner", observe=True)
    opened = await owner.ask("delegation.open", delegation="queued", callee="worker", task=1)
    assert opened["created"] is True
    await rig.crash()


async def test_the_columns_and_the_indexes(tmp_path: Path) -> None:
    await used(tmp_path)
    connection = ledger(tmp_path / "postroom.db")
    columns = {row[1]: row for row in connection.execute("PRAGMA table_info (delegations)")}
    assert columns.keys() >= COLUMNS
    assert [name for name, row in columns.items() if row[5]] == ["mesh_id", "id"]
    indexes = {
        row[1]: (row[2], row[4]) for row in connection.execute("PRAGMA index_list (delegations)")
    }
    unique_partial, plain, partial = (1, 1), (0, 0), (0, 1)
    assert indexes["idx_delegations_inflight_heartbeat"] == partial
    assert indexes["idx_delegations_caller_created"] == plain
    assert indexes["idx_delegations_callee_created"] == plain
    assert indexes["idx_delegations_idempotency"] == unique_partial
    # Callers and callees are names.
    foreign = connection.execute("PRAGMA foreign_key_list (delegations)").fetchall()
    assert {row[3] for row in foreign} == {"mesh_id"}
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "status = 'lost'",
        "status = 'completed'",
        "status = 'queued', finished_at = 1",
        "status = 'in_progress'",
        "status = NULL",
        "id = 'in_progress'",
        "idempotency_key = 'key of stuck'",
        "message_id = (SELECT message_id FROM delegations WHERE message_id IS NOT NULL)",
        "task_preview = printf('%4097d', 1)",
        "task_preview = printf('%4095d', 1) || 'é'",
        "result_preview = printf('%4097d', 1)",
        "error_detail = printf('%4097d', 1)",
        "opened_sha256 = x'00'",
        "mesh_id = 99",
    ],
)
async def test_what_the_tables_refuse(tmp_path: Path, change: str) -> None:
    await used(tmp_path)
    connection = ledger(tmp_path / "postroom.db")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(f"UPDATE delegations SET {change} WHERE id = 'queued'")
    connection.execute("UPDATE delegations SET task_preview = printf('%4094d', 1) || 'é'")
    connection.close()


async def test_a_deleted_delegation_takes_its_parts_with_it(tmp_path: Path) -> None:
    await used(tmp_path)
    connection = ledger(tmp_path / "postroom.db")
    connection.execute("DELETE FROM delegations")
    for table in ("delegation_contents", "delegation_history"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()
