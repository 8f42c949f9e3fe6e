"""What a fault of the storage means: which of them end the process, and which are our own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from failing_storage import fault

from broker.store.faults import STORE_ERRORS, StoreFault, error_code

FATAL = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CORRUPT_INDEX,
    sqlite3.SQLITE_NOTADB,
)
PASSING = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_BUSY_SNAPSHOT,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_CONSTRAINT,
)


@pytest.mark.parametrize("code", FATAL)
def test_fatal_only_at_the_commit(code: int) -> None:
    error = fault(sqlite3.DatabaseError, code, "x")
    assert StoreFault(error, at_commit=True).fatal
    assert not StoreFault(error).fatal


@pytest.mark.parametrize("code", PASSING)
def test_what_can_heal_is_not_fatal(code: int) -> None:
    error = fault(sqlite3.OperationalError, code, "x")
    assert not StoreFault(error, at_commit=True).fatal


def test_what_is_no_error_of_the_storage_is_not_fatal() -> None:
    for error in (sqlite3.OperationalError("made up"), MemoryError(), OSError(5, "x")):
        assert error_code(error) == 0
        assert not StoreFault(error, at_commit=True).fatal


def test_the_code_is_the_primary_one() -> None:
    error = fault(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_FSYNC, "x")
    assert error_code(error) == sqlite3.SQLITE_IOERR


def test_a_broken_constraint_is_ours() -> None:
    with pytest.raises(STORE_ERRORS) as raised:
        sqlite3.connect(":memory:").executescript(
            "CREATE TABLE a (x UNIQUE); INSERT INTO a VALUES (1), (1)"
        )
    assert StoreFault(raised.value).ours
    assert str(StoreFault(raised.value)).startswith("IntegrityError: UNIQUE")
    assert not StoreFault(sqlite3.OperationalError("x")).ours


@pytest.mark.parametrize(
    "error",
    [
        fault(sqlite3.OperationalError, sqlite3.SQLITE_ERROR, "no such column: x"),
        fault(sqlite3.DataError, sqlite3.SQLITE_TOOBIG, "string or blob too big"),
        sqlite3.ProgrammingError("Incorrect number of bindings supplied"),
        sqlite3.InterfaceError("Error binding parameter 0"),
        OverflowError("Python int too large to convert to SQLite INTEGER"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
)
def test_a_wrong_statement_is_ours_too(error: Exception) -> None:
    """It would fail for ever, and take with it whatever shares its batch."""
    assert StoreFault(error).ours
    assert not StoreFault(error, at_commit=True).fatal


@pytest.mark.parametrize("code", [*FATAL, *PASSING[:-1]])
def test_what_the_disk_does_is_not_ours(code: int) -> None:
    assert not StoreFault(fault(sqlite3.OperationalError, code, "x")).ours
    assert not StoreFault(fault(sqlite3.DatabaseError, code, "x")).ours


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"text" * 1_000)
    connection = sqlite3.connect(tmp_path / "a.db")
    with pytest.raises(STORE_ERRORS) as raised:
        connection.execute("SELECT 1 FROM a")
    connection.close()
    assert error_code(raised.value) == sqlite3.SQLITE_NOTADB
