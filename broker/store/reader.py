"""The connection that looks, on a thread of its own.

Owns: the time that a read may take, and the one moment of the database that it sees.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from broker.clock import monotonic
from broker.store.faults import LookTooLong, StoreFault, error_code
from broker.store.hop import Hop
from broker.store.rows import Row

T = TypeVar("T")

STEPS: Final = 10_000  # virtual machine steps between two looks at the clock


class Look:
    """A read-only view on one moment of the database."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def size(self) -> tuple[int, int]:
        """Bytes of the database and of its write-ahead log."""
        _, _, file = self._connection.execute("PRAGMA database_list").fetchone()
        return sizes(Path(file))

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()


def sizes(path: Path) -> tuple[int, int]:
    """Bytes of a database and of its write-ahead log."""
    return _size(path), _size(log_of(path))


def log_of(path: Path) -> Path:
    """The write-ahead log of a database."""
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Reader:
    """The connection that looks, on a thread of its own: a long look stops nobody."""

    __slots__ = ("_connection", "_hop")

    def __init__(self, connection: sqlite3.Connection, hop: Hop) -> None:
        self._connection = connection
        self._hop = hop

    def look(self, function: Callable[[Look], T], seconds: float) -> asyncio.Future[T]:
        """Run a function over one moment of the database, for so many seconds at most."""
        return self._hop.post(lambda: self._run(function, seconds))

    def _run(self, function: Callable[[Look], T], seconds: float) -> T:
        connection = self._connection
        end = monotonic() + seconds
        connection.set_progress_handler(lambda: monotonic() > end, STEPS)
        try:
            connection.execute("BEGIN")
            return function(Look(connection))
        except sqlite3.OperationalError as error:
            if error_code(error) == sqlite3.SQLITE_INTERRUPT:
                raise LookTooLong from error
            raise StoreFault(error) from error
        except sqlite3.Error as error:
            raise StoreFault(error) from error
        finally:
            connection.set_progress_handler(None, STEPS)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
