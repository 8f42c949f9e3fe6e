"""The data directory: made if need be, and held by one process at a time.

Owns: the directory's mode and the lock file in it. Must not know what else lies there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

LOCK_NAME: Final = "postroom.lock"
DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
HOLDER_BYTES: Final = 200  # more than a pid and a command's name


class DataDirectoryUnusable(Exception):  # noqa: N818 - the directory's fault, told to a person
    """The data directory cannot be made or written."""


class DataDirectoryLocked(DataDirectoryUnusable):
    """Another process works on the data directory."""


class DirectoryLock:
    """A data directory, held from here until `release` or the end of the process.

    The kernel lets go of the lock when its holder ends, however it ends. The file stays: to unlink
    it would let a third process lock a new one while a second still holds the old.
    """

    __slots__ = ("_file", "directory")

    def __init__(self, directory: Path, purpose: str) -> None:
        """Hold the directory, for a purpose that others are told (`serve`, `migrate`, `doctor`)."""
        self.directory = make(directory)
        try:
            self._file = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, FILE_MODE)
        except OSError as error:
            raise _unusable(directory, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, HOLDER_BYTES, 0).decode(errors="replace").strip()
            self._close()
            raise DataDirectoryLocked(
                f"the data directory {directory} is in use by {holder or 'another process'}: "
                f"stop that first, or name another with --data"
            ) from None
        except OSError as error:
            self._close()
            raise _unusable(directory, error) from error
        self._note(f"postroom {purpose}, pid {os.getpid()}\n")

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._file >= 0:
            self._note("")
            self._close()

    def _note(self, holder: str) -> None:
        # For the others' message only: a full disk must not keep `doctor` from looking.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, holder.encode(), 0)

    def _close(self) -> None:
        file, self._file = self._file, -1
        os.close(file)

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def make(directory: Path) -> Path:
    """The data directory, readable by nobody else if it is made here."""
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from error
    return directory


def _unusable(directory: Path, error: OSError) -> DataDirectoryUnusable:
    where = "" if error.filename in (None, str(directory)) else f"{error.filename}: "
    why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
    return DataDirectoryUnusable(
        f"the data directory {directory} cannot be used: {where}{why}; name another with --data"
    )
