"""A database that fails when it is told to, at any of its statements, and tells what ran on it.

Owns: the connector for the rig and its faults. Reads are never made to fail: what can't be written
is the point.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from broker.store.sqlite import connect


def full() -> sqlite3.Error:
    """The disk is full."""
    return fault(sqlite3.OperationalError, sqlite3.SQLITE_FULL, "database or disk is full")


def broken() -> sqlite3.Error:
    """The disk could not write, or not sync."""
    return fault(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error")


def constraint() -> sqlite3.Error:
    """A rule that a constraint holds was broken."""
    return fault(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT_UNIQUE, "UNIQUE failed")


def fault(kind: type[sqlite3.Error], code: int, text: str) -> sqlite3.Error:
    """An error as sqlite3 raises it."""
    error = kind(text)
    error.sqlite_errorcode = code
    return error


class FailingStorage:
    """A connector for the rig. Nothing fails until `fail` says so."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        """What the program asked of the writing connection since `watch`."""
        self.stepped: list[str] = []
        """What SQLite ran for it: every row of an `executemany` is one."""
        self._until: int | None = None
        self._times = 0
        self._error: Callable[[], sqlite3.Error] = full
        self._gone = False
        self._only: str | None = None
        self.failed = 0

    def __call__(self, uri: str) -> sqlite3.Connection:
        if "mode=rw" not in uri:
            return connect(uri)
        storage = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                storage._before(self, sql)
                return super().execute(sql, *values)

            def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
                storage._before(self, sql)
                return super().executemany(sql, rows)

        connection = sqlite3.connect(
            uri,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
            cached_statements=512,
        )
        connection.set_trace_callback(self.stepped.append)
        return connection

    def watch(self) -> None:
        """Forget what has run so far."""
        self.ran.clear()
        self.stepped.clear()

    def fail(
        self,
        error: Callable[[], sqlite3.Error] = full,
        *,
        after: int = 0,
        times: int = 10**9,
        only: str | None = None,
        gone: bool = False,
    ) -> None:
        """From now on fail: after so many statements, so often, or only statements like this.

        With `gone` SQLite has rolled the transaction back by itself.
        """
        self._until, self._times, self._error = after, times, error
        self._only, self._gone, self.failed = only, gone, 0

    def heal(self) -> None:
        """Nothing fails any more."""
        self._until = None

    def _before(self, connection: sqlite3.Connection, sql: str) -> None:
        self.ran.append(sql)
        if self._until is None or sql == "ROLLBACK" or not sql.startswith(self._only or ""):
            return
        self._until -= 1
        if self._until < 0 and self.failed < self._times:
            self.failed += 1
            if self._gone and connection.in_transaction:
                sqlite3.Connection.execute(connection, "ROLLBACK")
            raise self._error()
