"""What a fault of the storage means: whose it is, and whether the file can still be relied on.

Owns: the translation of sqlite3's errors.
"""

from __future__ import annotations

import sqlite3
from typing import Final

STORE_ERRORS: Final = (sqlite3.Error,)
"""What the storage raises."""

FATAL: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
NO_ROOM: Final = sqlite3.SQLITE_IOERR_SHMSIZE
"""A full disk, met while the index of the log grew: that is made anew at will, the log is well."""

OURS: Final = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
    }
)
"""What a statement is answered that is wrong itself: the next try would be answered the same."""


class StoreFault(Exception):  # noqa: N818 - it is the storage's fault, not the program's
    """The storage could not do it: every request of the batch is `unavailable`."""

    def __init__(self, cause: BaseException, *, at_commit: bool = False) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        code = error_code(cause)
        room = getattr(cause, "sqlite_errorcode", 0) != NO_ROOM
        self.fatal = at_commit and code in FATAL and room
        # SQLite says OperationalError of the storage, and DatabaseError of a file that is broken.
        storage = type(cause) in (sqlite3.OperationalError, sqlite3.DatabaseError)
        self.ours = not storage or code in OURS
        """Whether it is a fault of the program after all: a statement was wrong."""


class LookTooLong(Exception):  # noqa: N818 - an outcome, translated to `overloaded`
    """A read has used up its time."""


def error_code(error: BaseException) -> int:
    """The primary result code of an sqlite3 error, 0 for anything else."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
