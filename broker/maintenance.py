"""What can be done with a stopped broker's data directory: migrate it, examine it.

Owns: putting together the lock, the database, the migrations and everybody's checks, and the answer
as a document and as text. Knows no table and no rule; prints nothing.
"""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from broker import areas, doctor
from broker.clock import SystemClock
from broker.config import SECOND
from broker.data import DATABASE
from broker.doctor import Case, Check, Finding, Report
from broker.store.lock import DataDirectoryUnusable, DirectoryLock
from broker.store.migrate import MigrationRefused, Migrations, Status
from broker.store.stopped import (
    Connection,
    DatabaseUnusable,
    Purpose,
    Transaction,
    nothing,
    opened,
    transaction,
)

__all__ = ["REFUSALS", "Action", "Migrated", "Report", "diagnose", "migrate"]

Action = Literal["status", "up", "down"]
PURPOSES: Final[dict[Action, Purpose]] = {"status": "look", "up": "make", "down": "change"}

REFUSALS: Final = (DataDirectoryUnusable, DatabaseUnusable, MigrationRefused)
"""What keeps either from being done; the text says what to do about it."""


class File(Struct):
    """A migration, and how the database stands to it."""

    filename: str
    state: str
    applied_at: int | None


class Migrated(Struct):
    """How the database stands to this program's migrations. The fields' names are stable."""

    data: str
    current: bool
    applied: list[str]
    """What this call has applied, in order."""
    taken_back: list[str]
    """What this call has taken back, in order."""
    migrations: list[File]

    def told(self) -> str:
        """The same for people."""
        lines = [f"applied {name}" for name in self.applied]
        lines += [f"taken back {name}" for name in self.taken_back]
        width = max((len(file.filename) for file in self.migrations), default=0)
        for file in self.migrations:
            when = "" if file.applied_at is None else f"  {_written(file.applied_at)}"
            lines.append(f"{file.filename:{width}}  {file.state}{when}")
        return "\n".join(lines)


def migrate(directory: Path, action: Action, to: str | None = None) -> Migrated:
    """Show the migrations, apply what is pending, or take back."""
    migrations = Migrations.discover()
    applied: list[str] = []
    taken_back: list[str] = []
    with _database(directory, action) as connection:
        if action == "up":
            applied = migrations.up(connection, SystemClock().now(), to)
        elif action == "down":
            taken_back = migrations.down(connection, to)
        lines = migrations.status(connection)
    current = all(line.state == "applied" for line in lines)
    files = [File(line.filename, line.state, line.applied_at) for line in lines]
    return Migrated(str(directory), current, applied, taken_back, files)


@contextmanager
def _database(directory: Path, action: Action) -> Iterator[Connection]:
    """The database for an action; to look at one that is not there makes nothing."""
    path = directory / DATABASE
    if action != "up" and not path.exists():
        with nothing() if action == "status" else opened(path, "look") as connection:
            yield connection
        return
    with (
        DirectoryLock(directory, f"migrate {action}"),
        opened(path, PURPOSES[action]) as connection,
    ):
        yield connection


def diagnose(directory: Path, *, repair: bool, import_dispatches: Path | None = None) -> Report:
    """Examine the data, and mend what can be mended if so wished, all in one transaction."""
    path = directory / DATABASE
    if not path.exists():
        raise DatabaseUnusable(f"there is no database in {directory}: name another with --data")
    with DirectoryLock(directory, "doctor"):
        try:
            with (
                opened(path, "change" if repair else "look") as connection,
                transaction(connection, change=repair) as data,
            ):
                damage = data.damage()
                wrong = [
                    line
                    for line in Migrations.discover().status(connection)
                    if line.state != "applied"
                ]
                checks = _checks(data, damage, wrong)
                case = Case(data, SystemClock().now(), import_dispatches)
                # What does not stand as this program expects it is no place for its repairs.
                repair = repair and not damage and not wrong
                return doctor.examine(case, str(directory), checks, repair=repair)
        except (DatabaseUnusable, MigrationRefused) as error:
            return _unreadable(directory, str(error))


def _checks(data: Transaction, damage: list[str], wrong: list[Status]) -> dict[str, Check]:
    """The storage's own checks, and the nouns' if they can be run at all."""
    checks: dict[str, Check] = {
        "storage.integrity": lambda _: (Finding(DATABASE, text) for text in damage),
        "storage.migrations": lambda _: (Finding(line.filename, line.state) for line in wrong),
    }
    if not damage and not wrong:
        checks |= _checks_of_areas()
        checks["storage.constraints"] = lambda _: (
            Finding(table, f"{count} rows break a constraint")
            for table, count in data.violations().items()
        )
        # Last: what a noun finds and mends, it can say better.
        checks["storage.references"] = lambda _: (
            Finding(f"{table} {row}", f"refers to a row of {other} that is not there")
            for table, row, other in data.dangling()
        )
    return checks


def _checks_of_areas() -> dict[str, Check]:
    """What the nouns have to check: each that has a module `doctor` adds to the list."""
    for noun in pkgutil.iter_modules(areas.__path__):
        name = f"{areas.__name__}.{noun.name}.doctor"
        if noun.ispkg and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    return doctor.CHECKS


def _unreadable(directory: Path, why: str) -> Report:
    check = "storage.integrity"
    found = doctor.Found(check, DATABASE, why, repair=None, repaired=False)
    return Report(str(directory), ok=False, checks={check: 1}, findings=[found], left=1)


def _written(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
