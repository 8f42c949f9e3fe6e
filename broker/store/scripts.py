"""Migration files: one that makes something, and beside it the one that takes it back.

Owns: their names, what may stand in them, how they fall into statements, their checksums.
Must not know of databases, nor which files one has had.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

UP: Final = ".sql"
DOWN: Final = ".down.sql"
FILENAME: Final = re.compile(r"[0-9]{4}_[a-z0-9_]+\.sql")

# What would end the transaction around a file, or can do nothing within one.
REFUSED: Final = frozenset(
    {"ATTACH", "BEGIN", "COMMIT", "DETACH", "END", "RELEASE", "ROLLBACK", "SAVEPOINT"}
    | {"PRAGMA", "VACUUM"}
)
LEADING: Final = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
WORD: Final = re.compile(r"[A-Za-z]+")


class MigrationRefused(Exception):  # noqa: N818 - nothing has failed yet, and nothing has been done
    """The files and the database do not fit together; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file and the one that takes it back, as statements."""

    filename: str
    sha256: str
    up: tuple[str, ...]
    down: tuple[str, ...]


def read_scripts(directory: Path) -> list[Migration]:
    """The migrations of a directory, in order."""
    names = sorted(path.name for path in directory.glob(f"*{UP}"))
    if not names:
        raise MigrationRefused(f"no migrations in {directory}: install the program again")
    ups = [name for name in names if not name.endswith(DOWN)]
    wanted = {name for up in ups for name in (up, down_name(up))}
    for name in sorted(wanted.symmetric_difference(names)):
        raise MigrationRefused(
            f"{name} is missing: a migration needs the file that takes it back beside it"
            if name in wanted
            else f"{name} takes back a migration that is not there"
        )
    for name in ups:
        if FILENAME.fullmatch(name) is None:
            raise MigrationRefused(f"{name}: give it a name of the form 0001_what_it_makes.sql")
    return [_read(directory, name) for name in ups]


def down_name(filename: str) -> str:
    """The file that takes this one back."""
    return filename.removesuffix(UP) + DOWN


def split(filename: str, text: str) -> tuple[str, ...]:
    """The statements of a file; those that would break its one transaction are refused."""
    statements: list[str] = []
    read = 0
    for semicolon in re.finditer(";", text):
        # A semicolon inside a string, a comment or a trigger ends nothing.
        if sqlite3.complete_statement(text[read : semicolon.end()]):
            statement = LEADING.sub("", text[read : semicolon.end()], count=1)
            word = WORD.match(statement)
            if word is None or word[0].upper() in REFUSED:
                raise MigrationRefused(
                    f"{filename}: a migration may not say {first_line(statement)!r}: each file is "
                    f"one transaction already, with foreign keys off until its end"
                )
            statements.append(statement)
            read = semicolon.end()
    if LEADING.sub("", text[read:], count=1):
        raise MigrationRefused(f"{filename}: the last statement does not end with a semicolon")
    return tuple(statements)


def _read(directory: Path, filename: str) -> Migration:
    content: dict[str, bytes] = {}
    statements: dict[str, tuple[str, ...]] = {}
    for name in (filename, down_name(filename)):
        try:
            content[name] = (directory / name).read_bytes()
            statements[name] = split(name, content[name].decode())
        except (OSError, UnicodeDecodeError) as error:
            raise MigrationRefused(f"{name} cannot be read: {error}") from error
    up, down = statements.values()
    if not up:
        raise MigrationRefused(f"{filename}: has no statement")
    return Migration(filename, sha256(content[filename]).hexdigest(), up, down)


def first_line(statement: str) -> str:
    """Enough of a statement to find it again."""
    return statement.partition("\n")[0][:80]
