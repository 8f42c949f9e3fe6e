"""Migrations: bringing a database to the schema of this program, and back.

Owns: the table `__migrations`, the order of files, and each refusal with what to do about it.
Must not know any other table, nor who asks. A file and its record are one transaction: a database
has had a file whole, or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from broker.store.scripts import (
    Migration,
    MigrationRefused,
    down_name,
    first_line,
    read_scripts,
)

__all__ = ["Migration", "MigrationFailed", "MigrationRefused", "Migrations", "Status"]

PACKAGED: Final = Path(__file__).parents[1] / "migrations"
CHECKOUT: Final = Path(__file__).parents[2] / "migrations"

# Words of these statements are fixed by the databases that have the table already.
CREATE_RECORD: Final = (
    "CREATE TABLE IF NOT EXISTS __migrations ("
    "filename TEXT PRIMARY KEY, sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL)"
)
FIND_RECORD: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '__migrations'"
READ_RECORD: Final = "SELECT filename, sha256, applied_at FROM __migrations"
ADD_RECORD: Final = "INSERT INTO __migrations (filename, sha256, applied_at) VALUES (?, ?, ?)"
DROP_RECORD: Final = "DELETE FROM __migrations WHERE filename = ?"

State = Literal["applied", "pending", "changed", "gone", "out of order"]


class MigrationFailed(MigrationRefused):
    """A file could not be carried out; nothing of it has stayed."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What the database remembers of a file."""

    sha256: str
    at: int


@dataclass(frozen=True, slots=True)
class Status:
    """How a file and the database stand to each other."""

    filename: str
    state: State
    applied_at: int | None


class Migrations(tuple[Migration, ...]):
    """The files of this program, in order."""

    __slots__ = ()

    @classmethod
    def discover(cls, directory: Path | None = None) -> Migrations:
        """The files that travel with this program, unless another directory is named."""
        return cls(read_scripts(directory or (PACKAGED if PACKAGED.is_dir() else CHECKOUT)))

    def status(self, connection: sqlite3.Connection) -> list[Status]:
        """Every file and every record, in order; refuses nothing and writes nothing."""
        record = read_record(connection)
        newest = max(record, default="")
        lines = []
        for migration in self:
            applied = record.pop(migration.filename, None)
            state: State = "pending"
            if applied is not None:
                state = "applied" if applied.sha256 == migration.sha256 else "changed"
            elif migration.filename < newest:
                state = "out of order"
            lines.append(Status(migration.filename, state, applied.at if applied else None))
        lines += [Status(name, "gone", applied.at) for name, applied in record.items()]
        return sorted(lines, key=lambda line: line.filename)

    def current(self, connection: sqlite3.Connection) -> bool:
        """Whether the database has had exactly these files."""
        return all(line.state == "applied" for line in self.status(connection))

    def up(self, connection: sqlite3.Connection, now: int, to: str | None = None) -> list[str]:
        """Apply what is pending, through the file `to` or all; the names of what was applied."""
        last = self._known(to) if to is not None else self[-1].filename
        done: list[str] = []
        with _foreign_keys_off(connection):
            while (pending := self._pending(connection, last)) is not None:
                with _transaction(connection, pending.filename):
                    # Another process may have been faster: what counts is seen under the lock.
                    if self._pending(connection, last) is not pending:
                        continue
                    connection.execute(CREATE_RECORD)
                    _carry_out(connection, pending.filename, pending.up)
                    connection.execute(ADD_RECORD, (pending.filename, pending.sha256, now))
                done.append(pending.filename)
        return done

    def down(self, connection: sqlite3.Connection, to: str | None = None) -> list[str]:
        """Take back one file, or all that came after `to`; the names of what was taken back."""
        record = self._record(connection)
        names = sorted(record, reverse=True)
        if to is None:
            names = names[:1]
        elif self._known(to) in record:
            names = [name for name in names if name > to]
        else:
            raise MigrationRefused(f"{to} is not applied: name one that is, `migrate status` lists")
        files = {migration.filename: migration for migration in self}
        done: list[str] = []
        with _foreign_keys_off(connection):
            for name in names:
                with _transaction(connection, down_name(name)):
                    if max(self._record(connection), default=None) != name:
                        raise MigrationRefused("another process migrates this database: try again")
                    _carry_out(connection, down_name(name), files[name].down)
                    connection.execute(DROP_RECORD, (name,))
                done.append(name)
        return done

    def _known(self, filename: str) -> str:
        if all(filename != migration.filename for migration in self):
            known = ", ".join(migration.filename for migration in self)
            raise MigrationRefused(f"there is no migration {filename!r}; there are {known}")
        return filename

    def _pending(self, connection: sqlite3.Connection, last: str) -> Migration | None:
        """The next file to apply, unless this database cannot be brought up at all."""
        record = self._record(connection)
        newest = max(record, default="")
        pending = [migration for migration in self if migration.filename not in record]
        if pending and pending[0].filename < newest:
            raise MigrationRefused(
                f"{pending[0].filename} is not applied, but {newest}, which comes after it, is: "
                f"rename it to come last, or first take back what comes after it "
                f"(`postroom migrate down`)"
            )
        return pending[0] if pending and pending[0].filename <= last else None

    def _record(self, connection: sqlite3.Connection) -> dict[str, Applied]:
        """What the database has had, if these are the files that it has had it from."""
        record = read_record(connection)
        files = {migration.filename: migration for migration in self}
        for filename in sorted(record):
            if filename not in files:
                raise MigrationRefused(
                    f"this database has had {filename}, which this program does not have: it was "
                    f"made by a newer version. Start that one, or go back with it first "
                    f"(`postroom migrate down --to {self[-1].filename}`)"
                )
            if record[filename].sha256 != files[filename].sha256:
                raise MigrationRefused(
                    f"{filename} has changed since it was applied to this database: put the file "
                    f"back as it was, and the change into a new migration"
                )
        return record


def read_record(connection: sqlite3.Connection) -> dict[str, Applied]:
    """What the database has had; nothing if it is new."""
    try:
        if connection.execute(FIND_RECORD).fetchone() is None:
            return {}
        rows = connection.execute(READ_RECORD).fetchall()
    except sqlite3.DatabaseError as error:
        raise MigrationRefused(f"the database cannot be read: {error}") from error
    return {filename: Applied(checksum, at) for filename, checksum, at in rows}


def _carry_out(connection: sqlite3.Connection, filename: str, statements: tuple[str, ...]) -> None:
    for statement in statements:
        try:
            connection.execute(statement).fetchall()
        except sqlite3.Error as error:
            raise _failed(filename, f"{error}, at {first_line(statement)!r}") from error


@contextmanager
def _transaction(connection: sqlite3.Connection, filename: str) -> Iterator[None]:
    """All of a file and its record, or nothing."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise _failed(filename, f"rows of {broken[0]} refer to rows of {broken[2]} not there")
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise _failed(filename, str(error)) from error
        raise


@contextmanager
def _foreign_keys_off(connection: sqlite3.Connection) -> Iterator[None]:
    """A table may be made anew while others refer to it; the whole is checked before the commit."""
    if connection.isolation_level is not None or connection.in_transaction:
        raise ValueError("migrations make their own transactions: isolation_level=None, none open")
    was_on = connection.execute("PRAGMA foreign_keys").fetchone()[0]
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA foreign_keys = {was_on}")


def _failed(filename: str, why: str) -> MigrationFailed:
    return MigrationFailed(f"{filename}: {why}. Nothing of it has stayed: mend it and try again")
