"""The database of a stopped broker: opened for `migrate` and `doctor`, under the directory's lock.

Owns: the ways to open it, SQLite's own two checks, and one exception for all that SQLite says
against it. Must not know any table, nor what is looked for.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from broker.store.sqlite import Row, connect

FILE_MODE: Final = 0o600
BROKEN_CHECK: Final = "CHECK constraint failed in "
COMPLAINTS: Final = 100  # of a damaged file; the first few tell as much

Connection = sqlite3.Connection
Purpose = Literal["look", "change", "make"]


class DatabaseUnusable(Exception):  # noqa: N818 - the file's fault, told to a person
    """The file is not there, is no database, or SQLite cannot read or write it."""


@contextmanager
def opened(path: Path, purpose: Purpose) -> Iterator[sqlite3.Connection]:
    """The database, to look at, to change, or to make if it is not there."""
    if purpose == "make":
        path.touch(mode=FILE_MODE)
    elif not path.exists():
        raise DatabaseUnusable(
            f"there is no database in {path.parent}: name another directory with --data, or make "
            f"one with `postroom migrate up`"
        )
    try:
        connection = connect(path.absolute().as_uri() + "?mode=rw")
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{path}: {error}") from error
    try:
        if purpose == "make":
            connection.execute("PRAGMA journal_mode = WAL")
        elif purpose == "look":
            connection.execute("PRAGMA query_only = ON")
        yield connection
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{path}: {error}") from error
    finally:
        connection.close()


@contextmanager
def nothing() -> Iterator[sqlite3.Connection]:
    """A database that has had no migration, where there is no file yet."""
    connection = connect("file::memory:")
    try:
        yield connection
    finally:
        connection.close()


class Transaction:
    """One transaction over the database, constraints off: repairs come in any order.

    What breaks a constraint before, and what would after them, is asked for.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(sql, values).rowcount

    def damage(self) -> list[str]:
        """What SQLite finds broken in the file itself; nothing above it can be relied on then."""
        return self._complaints()

    def violations(self) -> dict[str, int]:
        """Tables with rows that break a constraint of theirs, and how many (the first hundred)."""
        self.run("PRAGMA ignore_check_constraints = OFF")
        try:
            found = [text for text in self._complaints() if text.startswith(BROKEN_CHECK)]
        finally:
            self.run("PRAGMA ignore_check_constraints = ON")
        return Counter(text.removeprefix(BROKEN_CHECK) for text in found)

    def _complaints(self) -> list[str]:
        try:
            rows = self.all(f"PRAGMA integrity_check({COMPLAINTS})")
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def dangling(self) -> list[tuple[str, int | None, str]]:
        """Rows that refer to rows that are not there: their table, number, and the other table."""
        return [(row[0], row[1], row[2]) for row in self.all("PRAGMA foreign_key_check")]


@contextmanager
def transaction(connection: sqlite3.Connection, *, change: bool) -> Iterator[Transaction]:
    """All changes or none."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("BEGIN IMMEDIATE" if change else "BEGIN")
    try:
        yield Transaction(connection)
        if change:
            connection.execute("COMMIT")
    finally:
        # After a look there is nothing to keep; a damaged file could not commit even that.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
