"""The SQLite engine: one connection that writes, one that looks, and what a fault of theirs means.

Owns: pragmas, transactions, where statements and commits run, and the translation of sqlite3's
errors. Knows no area and no wire type. The only importer of aiosqlite.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import aiosqlite

from broker.clock import monotonic
from broker.config import SECOND

Row = tuple[Any, ...]
T = TypeVar("T")
Placement = Literal["loop", "commit", "thread"]

BUSY_MS: Final = 2 * SECOND  # somebody looks at the file with another program
CHECKPOINT_PAGES: Final = 1_000  # small and often: a checkpoint stops the writer while it runs
CACHE_KIB: Final = 64 * 1_024
STATEMENTS: Final = 512  # more than there are named statements: none is compiled twice
SLOW_COMMIT_SECONDS: Final = 0.002  # beyond this a commit leaves the loop's thread
STEPS: Final = 10_000  # virtual machine steps between two looks at the clock

FATAL: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class StoreFault(Exception):  # noqa: N818 - it is the storage's fault, not the program's
    """The storage could not do it: every request of the batch is `unavailable`."""

    def __init__(self, cause: BaseException, *, at_commit: bool = False) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.fatal = at_commit and error_code(cause) in FATAL
        self.constraint = isinstance(cause, sqlite3.IntegrityError)


class LookTooLong(Exception):  # noqa: N818 - an outcome, translated to `overloaded`
    """A read has used up its time."""


def error_code(error: BaseException) -> int:
    """The primary result code of an sqlite3 error, 0 for anything else."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class _Hop(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function in one hop to its thread.

    aiosqlite hops for every call; a batch or a read is many calls and one function.
    """

    def post(self, function: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, function))
        return future


class Writer:
    """The one connection that writes. A transaction begins with its first statement."""

    __slots__ = (
        "_armed",
        "_commit_seconds",
        "_connection",
        "_hop",
        "_pending",
        "begun",
        "placement",
        "rows",
        "statements",
        "wrote",
    )

    def __init__(
        self,
        connection: sqlite3.Connection,
        hop: _Hop | None = None,
        placement: Placement = "loop",
    ) -> None:
        self._connection = connection
        self._hop = hop
        self._pending: dict[str, list[Row]] = {}
        self._commit_seconds = 0.0
        self.placement: Placement = placement
        self._armed = False
        self.begun = False
        self.wrote = False
        """Whether the last commit had something to make durable."""
        self.statements = 0
        self.rows = 0

    def begin(self) -> None:
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
        rows = self._pending.get(sql)
        if rows is None:
            self._pending[sql] = [row]
        else:
            rows.append(row)

    def _execute(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        if self._armed:
            self._arm()
        if self._pending:
            self.flush()
        self.begin()
        self.statements += 1
        return self._connection.execute(sql, values)

    def flush(self) -> None:
        """Write what `later` has collected, kind by kind in the order of first use."""
        pending, self._pending = self._pending, {}
        if pending:
            self.begin()
        for sql, rows in pending.items():
            self.statements += 1
            self.rows += len(rows)
            changed = self._connection.executemany(sql, rows).rowcount
            if changed != len(rows):
                raise sqlite3.IntegrityError(f"{changed} of {len(rows)} rows written: {sql[:60]}")

    @property
    def writes(self) -> bool:
        """Whether a transaction is open or rows wait for one."""
        return self.begun or bool(self._pending)

    def commit(self) -> None:
        """Make everything durable, or raise and leave the transaction to `rollback`."""
        try:
            self.flush()
        except BaseException as error:
            raise StoreFault(error) from error
        self.wrote = self.begun
        if self.begun:
            try:
                self._connection.execute("COMMIT")
            except BaseException as error:
                raise StoreFault(error, at_commit=True) from error
            self.begun = False

    def finish(self, done: Callable[[BaseException | None], None]) -> None:
        """Commit where it belongs and call `done` with the fault, if any: at once or later.

        On the loop's thread while the disk is quick; a slow disk may not stop the loop.
        """
        hop = self._hop
        if hop is None or (self.placement == "loop" and self._commit_seconds < SLOW_COMMIT_SECONDS):
            done(self._timed_commit())
            return
        if self.placement != "thread":
            try:
                self.flush()
            except sqlite3.Error as error:
                done(StoreFault(error))
                return
        hop.post(self._timed_commit).add_done_callback(lambda future: done(future.result()))

    def _timed_commit(self) -> BaseException | None:
        started = monotonic()
        try:
            self.commit()
        except StoreFault as fault:
            return fault
        taken = monotonic() - started
        self._commit_seconds += (taken - self._commit_seconds) / 16
        return None

    def rollback(self) -> bool:
        """Take everything back; whether the transaction was still there to be taken back."""
        self._pending = {}
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
        self._pending = {}
        self._connection.execute("ROLLBACK TO request")
        self._connection.execute("RELEASE request")

    def _arm(self) -> None:
        self._armed = False
        self._execute("SAVEPOINT request", ())


class Look:
    """A read-only view on one moment of the database."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()


class Reader:
    """The connection that looks, on a thread of its own: a long look stops nobody."""

    __slots__ = ("_connection", "_hop")

    def __init__(self, connection: sqlite3.Connection, hop: _Hop) -> None:
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


Connector = Callable[[str], sqlite3.Connection]


def connect(uri: str) -> sqlite3.Connection:
    """A connection without implicit transactions, for any one thread at a time."""
    return sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
        timeout=BUSY_MS / SECOND,
    )


def prepare(connection: sqlite3.Connection, synchronous: str) -> None:
    """Set what SQLite does not remember, and what it does."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if synchronous == 'full' else 'NORMAL'}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")


class Store:
    """The database of one broker: a writer and a reader."""

    __slots__ = ("_hops", "path", "reader", "writer")

    def __init__(self, path: Path, writer: Writer, reader: Reader, hops: list[_Hop]) -> None:
        self.path = path
        self.writer = writer
        self.reader = reader
        self._hops = hops

    async def close(self) -> None:
        for hop in self._hops:
            await hop.close()

    def size(self) -> tuple[int, int]:
        """Bytes of the database and of its write-ahead log."""
        log = self.path.with_name(self.path.name + "-wal")
        return _size(self.path), _size(log)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


async def open_store(
    path: Path,
    synchronous: str,
    connector: Connector = connect,
    placement: Placement = "loop",
) -> Store:
    """Open a migrated database. The file must be there."""
    hops: list[_Hop] = []
    raw: list[sqlite3.Connection] = []
    for query in ("mode=rw", "mode=ro"):

        def make(query: str = query) -> sqlite3.Connection:
            raw.append(connector(f"{path.absolute().as_uri()}?{query}"))
            return raw[-1]

        hop = _Hop(make, iter_chunk_size=64)
        hops.append(hop)
        await hop
    prepare(raw[0], synchronous)
    raw[0].execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer = Writer(raw[0], hops[0], placement)
    return Store(path, writer, Reader(raw[1], hops[1]), hops)
