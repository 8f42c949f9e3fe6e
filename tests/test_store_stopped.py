"""The database of a stopped broker: opened for a purpose, one transaction, SQLite's own checks."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from broker.store.stopped import (
    DatabaseUnusable,
    Purpose,
    Transaction,
    nothing,
    opened,
    transaction,
)

ROWS = 2_000
PURPOSES: tuple[Purpose, ...] = ("look", "change")


def database(directory: Path) -> Path:
    """A database with a table, an index and a row that points to nothing."""
    path = directory / "postroom.db"
    with opened(path, "make") as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT CHECK (x <> ''))")
        connection.execute("CREATE TABLE b (a INTEGER REFERENCES a (id))")
        connection.execute("CREATE INDEX a_x ON a (x)")
        rows = [(str(number) * 20,) for number in range(ROWS)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO a (x) VALUES (?)", rows)
        connection.execute("COMMIT")
    return path


def spoil(data: Transaction) -> None:
    """Change something, and fail."""
    assert data.run("DELETE FROM a WHERE id > ?", (10,)) == ROWS - 10
    data.run("DELETE FROM absent")


def test_it_is_made_for_its_owner_alone_and_only_where_that_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "postroom.db"
    for purpose in PURPOSES:
        with pytest.raises(DatabaseUnusable, match="there is no database"), opened(path, purpose):
            pass
    assert not path.exists()
    with opened(path, "make") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with nothing() as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_who_looks_cannot_change(tmp_path: Path) -> None:
    path = database(tmp_path)
    with (
        pytest.raises(DatabaseUnusable, match="readonly"),
        opened(path, "look") as connection,
        transaction(connection, change=False) as data,
    ):
        data.run("DELETE FROM a")


def test_all_changes_are_kept_or_none(tmp_path: Path) -> None:
    path = database(tmp_path)
    with (
        pytest.raises(DatabaseUnusable, match="no such table: absent"),
        opened(path, "change") as connection,
        transaction(connection, change=True) as data,
    ):
        spoil(data)
    with opened(path, "change") as connection:
        with transaction(connection, change=True) as data:
            assert data.one("SELECT count(*) FROM a") == (ROWS,)
            data.run("DELETE FROM a")
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,)


def test_broken_constraints_are_counted_and_are_no_damage(tmp_path: Path) -> None:
    with (
        opened(database(tmp_path), "change") as connection,
        transaction(connection, change=True) as data,
    ):
        assert (data.damage(), data.violations(), data.dangling()) == ([], {}, [])
        data.run("UPDATE a SET x = '' WHERE id < 4")
        data.run("INSERT INTO b VALUES (-1)")
        assert data.damage() == []
        assert data.violations() == {"a": 3}
        assert data.dangling() == [("b", 1, "a")]


def test_a_damaged_file_is_told_in_sqlites_words(tmp_path: Path) -> None:
    path = database(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xaa" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    with opened(path, "look") as connection, transaction(connection, change=False) as found:
        assert found.damage()
    path.write_bytes(b"no database" * 100)
    with (
        pytest.raises(DatabaseUnusable, match=r"postroom\.db: file is not a database"),
        opened(path, "look") as connection,
        transaction(connection, change=False) as found,
    ):
        found.one("SELECT 1 FROM a")
