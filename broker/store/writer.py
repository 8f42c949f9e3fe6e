"""The one connection that writes: transactions, statements, and the commit.

Owns: where statements and commits run (see docs/decisions/0001). Knows no area and no wire type.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from broker.clock import monotonic
from broker.spread import Spread
from broker.store.faults import StoreFault
from broker.store.hop import Hop
from broker.store.rows import Row, write

SLOW_COMMIT_SECONDS: Final = 0.002  # beyond this a commit leaves the loop's thread
CHECKPOINT_SECONDS: Final = 0.03  # up to this one commit of many may have been a checkpoint


def _changes(sql: str) -> bool:
    """Whether a statement changes rows that must be there before."""
    return not sql.startswith("INSERT")


class Writer:
    """The one connection that writes. A transaction begins with its first statement."""

    __slots__ = (
        "_armed",
        "_commit_seconds",
        "_connection",
        "_gathered",
        "_hop",
        "_over",
        "_pending",
        "begun",
        "rows",
        "seconds",
        "statements",
        "wrote",
    )

    def __init__(self, connection: sqlite3.Connection, hop: Hop | None = None) -> None:
        self._connection = connection
        self._hop = hop
        self._pending: defaultdict[str, list[Row]] = defaultdict(list)
        self._gathered: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        self._commit_seconds = 0.0
        self._armed = False
        self._over = False
        self.begun = False
        self.wrote = False
        """Whether the last commit had something to make durable."""
        self.statements = 0
        self.rows = 0
        self.seconds = Spread()
        """Times of commits."""

    def begin(self) -> None:
        if self._over:
            raise sqlite3.OperationalError("a commit was not synced: nothing is written any more")
        if not self.begun:
            self._connection.execute("BEGIN IMMEDIATE")
            self.begun = True

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._execute(sql, values).fetchone()
        return row

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        return self._execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that writes; how many rows it changed."""
        changed = self._execute(sql, values).rowcount
        self.rows += max(changed, 0)
        return changed

    def insert(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Insert one row; its id."""
        cursor = self._execute(sql, values)
        self.rows += 1
        return cursor.lastrowid or 0

    def later(self, sql: str, row: Row) -> None:
        """Write this row before the next other statement, together with its like."""
        if self._armed:
            self._arm()
        self._pending[sql].append(row)

    def gather(self, sql: str, at: int, id: int) -> None:
        """Change this row before the next other statement, in one step with its like.

        The statement is given the instant, and the ids as a JSON array.
        """
        if self._armed:
            self._arm()
        self._gathered[sql, at].append(id)

    def _execute(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        if self._armed:
            self._arm()
        if self._pending or self._gathered:
            self.flush()
        self.begin()
        self.statements += 1
        return self._connection.execute(sql, values)

    def flush(self) -> None:
        """Write what was put off, kind by kind in the order of first use.

        New rows go first: a kind of change may have been used before the row that it changes came.
        """
        if not self.writes:
            return
        self.begin()
        pending, gathered = self._pending, self._gathered
        self._forget()
        for sql in sorted(pending, key=_changes):
            self._check(sql, len(pending[sql]), write(self._connection, sql, pending[sql]))
        for (sql, at), ids in gathered.items():
            self._check(sql, len(ids), self._connection.execute(sql, (at, str(ids))).rowcount)

    def _check(self, sql: str, wanted: int, changed: int) -> None:
        self.statements += 1
        self.rows += wanted
        if changed != wanted:
            raise sqlite3.IntegrityError(f"{changed} of {wanted} rows written: {sql[:60]}")

    def _forget(self) -> None:
        self._pending, self._gathered = defaultdict(list), defaultdict(list)

    @property
    def writes(self) -> bool:
        """Whether a transaction is open or rows wait for one."""
        return self.begun or bool(self._pending or self._gathered)

    def commit(self) -> None:
        """Make everything durable, or raise and leave the transaction to `rollback`."""
        try:
            self.flush()
        except BaseException as error:
            raise StoreFault(error) from error
        self.wrote = self.begun
        if self.begun:
            started = monotonic()
            try:
                self._connection.execute("COMMIT")
            except BaseException as error:
                fault = StoreFault(error, at_commit=True)
                self._over = fault.fatal
                raise fault from error
            self.begun = False
            taken = monotonic() - started
            self.seconds.note(taken)
            if taken < CHECKPOINT_SECONDS:  # which says little of the disk
                taken = min(taken, 2 * SLOW_COMMIT_SECONDS)
            self._commit_seconds += (taken - self._commit_seconds) / 16

    def finish(self, done: Callable[[BaseException | None], None]) -> None:
        """Commit where it belongs and call `done` with the fault, if any: at once or later.

        On the loop's thread while the disk is quick; a slow disk may not stop the loop.
        """
        hop = self._hop
        if hop is None or self._commit_seconds < SLOW_COMMIT_SECONDS:
            done(self._tried_commit())
            return
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 - done is told, whatever it is
            done(StoreFault(error))
            return
        hop.post(self._tried_commit).add_done_callback(lambda future: done(future.result()))

    def _tried_commit(self) -> BaseException | None:
        try:
            self.commit()
        except StoreFault as fault:
            return fault
        return None

    def rollback(self) -> bool:
        """Take everything back; whether the transaction was still there to be taken back."""
        self._forget()
        self._armed = False
        there = self._connection.in_transaction
        if there:
            # A rollback that fails has rolled back: SQLite has nothing left to keep.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        lost = self.begun and not there
        self.begun = False
        return not lost

    def probe(self) -> None:
        """Write something, to see whether that is possible again."""
        self._execute("PRAGMA user_version = 1", ())

    def savepoint(self) -> None:
        """Mark a point; it costs nothing until something is written or read after it."""
        self._armed = True

    def release(self) -> None:
        """Keep what came after the mark."""
        if self._armed:
            self._armed = False
        else:
            self._execute("RELEASE request", ())

    def back(self) -> None:
        """Take back what came after the mark."""
        if self._armed:
            self._armed = False
            return
        self._forget()
        self._connection.execute("ROLLBACK TO request")
        self._connection.execute("RELEASE request")

    def _arm(self) -> None:
        self._armed = False
        self._execute("SAVEPOINT request", ())
