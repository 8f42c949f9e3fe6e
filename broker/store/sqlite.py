"""The SQLite engine: one connection that writes, one that looks.

Owns: pragmas and how the two are opened. Knows no area and no wire type.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from broker.config import SECOND
from broker.store.faults import STORE_ERRORS, LookTooLong, StoreFault, error_code
from broker.store.hop import Hop
from broker.store.reader import Look, Reader, log_of, sizes
from broker.store.rows import Row
from broker.store.writer import Writer

__all__ = [
    "STORE_ERRORS",
    "Connector",
    "Look",
    "LookTooLong",
    "Reader",
    "Row",
    "Store",
    "StoreFault",
    "Writer",
    "connect",
    "error_code",
    "lay_out",
    "open_store",
    "prepare",
]

BUSY_MS: Final = 2 * SECOND  # somebody looks at the file with another program
CHECKPOINT_PAGES: Final = 4_000  # 16 MB: fewer and larger checkpoints cost 4 % less than at 1,000
LOG_MIB: Final = 17  # what the log grows to between two checkpoints, and a large batch
CACHE_KIB: Final = 4 * 1_024  # 16 and 64 MiB were no quicker, with 300,000 queued or with none
STATEMENTS: Final = 512  # more than there are named statements: none is compiled twice

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


def lay_out(log: Path) -> None:
    """Give an empty write-ahead log the size that it will have, for whoever holds the write lock.

    A sync is quicker when the file was as long before (see docs/decisions/0006). SQLite finds no
    header in zeros, so the log is still empty to it.
    """
    with log.open("r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            return
        try:
            for _ in range(LOG_MIB):
                file.write(bytes(1_024 * 1_024))
            os.fsync(file.fileno())
        except OSError:  # no room for it: the log grows as it must, and says so where it cannot
            file.truncate(0)


class Store:
    """The database of one broker: a writer and a reader."""

    __slots__ = ("_hops", "path", "reader", "writer")

    def __init__(self, path: Path, writer: Writer, reader: Reader, hops: list[Hop]) -> None:
        self.path = path
        self.writer = writer
        self.reader = reader
        self._hops = hops

    async def close(self) -> None:
        for hop in self._hops:
            await hop.close()

    def lay_out_log(self) -> None:
        """Let commits write over a log that is there, for a broker that is about to serve."""
        self.writer.begin()
        lay_out(log_of(self.path))
        self.writer.rollback()

    def size(self) -> tuple[int, int]:
        """Bytes of the database and of its write-ahead log."""
        return sizes(self.path)


async def open_store(
    path: Path,
    synchronous: str,
    connector: Connector = connect,
) -> Store:
    """Open a migrated database. The file must be there."""
    hops: list[Hop] = []
    raw: list[sqlite3.Connection] = []
    for query in ("mode=rw", "mode=ro"):

        def make(query: str = query) -> sqlite3.Connection:
            raw.append(connector(f"{path.absolute().as_uri()}?{query}"))
            return raw[-1]

        hop = Hop(make, iter_chunk_size=64)
        try:
            await hop
            hops.append(hop)
            if len(hops) == 1:
                prepare(raw[0], synchronous)
                raw[0].execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except BaseException:
            for opened in hops:
                await opened.close()
            raise
    writer = Writer(raw[0], hops[0])
    return Store(path, writer, Reader(raw[1], hops[1]), hops)
