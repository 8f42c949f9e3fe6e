"""Many rows for one statement: the same rows as one by one, whatever the statement looks like."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.store.queries import parse
from broker.store.rows import AT_ONCE, MOST_VALUES, widened, write


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, copy, kind)")
    yield connection
    connection.close()


PLAIN = "INSERT INTO things (id, name, copy, kind) VALUES (?, ?, NULL, 'plain')"
NUMBERED = "INSERT INTO things (id, name, copy, kind) VALUES (?1, ?2, ?1, 'numbered')"
UPSERT = "INSERT INTO things (id, name) VALUES (?, ?) ON CONFLICT DO UPDATE SET name = 'twice'"
CHANGE = "UPDATE things SET name = ? WHERE id = ?"


@pytest.mark.parametrize("sql", [PLAIN, NUMBERED, UPSERT])
@pytest.mark.parametrize(
    "count", [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 3 * AT_ONCE + 7]
)
def test_rows_are_those_of_one_statement_each(
    database: sqlite3.Connection, sql: str, count: int
) -> None:
    rows = [(number, f"thing {number}") for number in range(1, count + 1)]

    assert write(database, sql, rows) == count

    written = database.execute("SELECT * FROM things ORDER BY id").fetchall()
    database.execute("DELETE FROM things")
    for row in rows:
        database.execute(sql, row)
    assert written == database.execute("SELECT * FROM things ORDER BY id").fetchall()
    assert len(written) == count


def test_changes_are_counted(database: sqlite3.Connection) -> None:
    write(database, PLAIN, [(number, "new") for number in range(AT_ONCE)])

    changed = write(database, CHANGE, [("changed", number) for number in range(2 * AT_ONCE)])

    assert changed == AT_ONCE


def test_steps_are_few(database: sqlite3.Connection) -> None:
    steps: list[str] = []
    database.set_trace_callback(steps.append)

    write(database, PLAIN, [(number, "new") for number in range(3 * AT_ONCE + 2)])

    assert len(steps) == 3 + 2


def test_one_bad_row_is_an_error(database: sqlite3.Connection) -> None:
    rows = [(number, "new") for number in range(AT_ONCE)]
    rows[10] = (9, "again")

    with pytest.raises(sqlite3.IntegrityError):
        write(database, PLAIN, rows)


def test_only_plain_inserts_are_widened() -> None:
    assert widened(UPSERT) is None
    assert widened(CHANGE) is None
    wide = widened(NUMBERED)
    assert wide is not None
    assert wide.startswith(
        "INSERT INTO things (id, name, copy, kind) VALUES (?1, ?2, ?1, 'numbered'), "
        "(?3, ?4, ?3, 'numbered'), "
    )
    assert wide.endswith(f"(?{2 * AT_ONCE - 1}, ?{2 * AT_ONCE}, ?{2 * AT_ONCE - 1}, 'numbered')")


def test_the_statements_of_a_mail_are_widened_and_none_is_too_wide(checkout: Path) -> None:
    wide = {
        name: widened(statement)
        for file in (checkout / "broker").rglob("*.sql")
        for name, statement in parse(file).items()
    }
    for name in ("insert_message", "insert_rare_message", "insert_claimed", "insert_queued"):
        assert wide[name] is not None, name
    values = [int(number) for one in wide.values() if one for number in re.findall(r"\?(\d+)", one)]
    assert max(values) <= MOST_VALUES
