"""Named SQL: the statements of a module stand in the `.sql` file of the same stem beside it.

Owns: the format of those files and what is refused in them. Must not know what a statement means.

    -- name: insert_message
    INSERT INTO messages (id, body) VALUES (?, ?);

A module takes its statements by name when it is imported, and then says that these were all: a name
that is not there, and a statement that nobody uses, are both found before anything runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

NAME_LINE: Final = re.compile(r"--\s*name\s*:.*")
NAME: Final = re.compile(r"-- name: ([a-z][a-z0-9_]*)")

# Quoted text is one token, so that what looks like a comment or a semicolon in it is left alone.
TOKEN: Final = re.compile(
    r"""(?P<quoted>'[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\])"""
    r"""|(?P<blank>(?:--[^\n]*|/\*.*?\*/|\s)+)"""
    r"""|(?P<end>;)""",
    re.DOTALL,
)
END: Final = "\0"
"""Stands for a semicolon outside quotes while a statement is read: SQL cannot hold it."""


class QueryError(Exception):
    """A `.sql` file and its module do not fit together: a bug, found at import."""


class Queries:
    """The statements of one module."""

    __slots__ = ("_path", "_statements", "_unused")

    def __init__(self, module_file: str) -> None:
        self._path = Path(module_file).with_suffix(".sql")
        self._statements = parse(self._path)
        self._unused = set(self._statements)

    def take(self, name: str) -> str:
        """The statement of that name."""
        try:
            statement = self._statements[name]
        except KeyError:
            raise QueryError(f"{self._path}: no statement is named {name!r}") from None
        self._unused.discard(name)
        return statement

    def close(self) -> None:
        """All that the module uses has been taken: refuse what is left over."""
        if self._unused:
            left = ", ".join(sorted(self._unused))
            raise QueryError(f"{self._path}: nobody takes {left}")


def parse(path: Path) -> dict[str, str]:
    """The statements of a file by name, each in one line and without comments."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{path}: {error}") from error
    preface: list[str] = []
    blocks: dict[str, list[str]] = {}
    block = preface
    for number, line in enumerate(lines, start=1):
        if not NAME_LINE.fullmatch(line.strip()):
            block.append(line)
            continue
        named = NAME.fullmatch(line.strip())
        if named is None:
            raise QueryError(f"{path}:{number}: not of the form `-- name: a_name`")
        if named[1] in blocks:
            raise QueryError(f"{path}:{number}: {named[1]!r} is there already")
        block = blocks[named[1]] = []
    if plain(preface):
        raise QueryError(f"{path}: there is SQL before the first name")
    return {name: _statement(path, name, block) for name, block in blocks.items()}


def plain(lines: list[str]) -> str:
    """SQL without what SQLite would skip at each compilation: comments, indents, line breaks."""

    def shorten(token: re.Match[str]) -> str:
        if token["quoted"]:
            return token[0]
        return END if token["end"] else " "

    return TOKEN.sub(shorten, "\n".join(lines)).strip()


def _statement(path: Path, name: str, lines: list[str]) -> str:
    statement, _, more = plain(lines).partition(END)
    if not statement.strip():
        raise QueryError(f"{path}: {name!r} has no statement")
    if more.strip(f"{END} "):
        raise QueryError(f"{path}: {name!r} has more than one statement")
    return statement.strip()
