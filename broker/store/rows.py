"""Many rows for one statement, in as few steps of SQLite as pay.

Owns: how a statement that inserts one row becomes one that inserts many. SQLite opens a table and
each of its indexes anew for every step, whatever it inserts: sixty-four rows at a time cost two
thirds of what they cost one by one (docs/decisions/0005).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain, count
from typing import Any, Final

Row = tuple[Any, ...]

AT_ONCE: Final = 64  # with more, little is left to gain
MOST_VALUES: Final = 999  # of one statement, in SQLite before 3.32

INSERT: Final = re.compile(r"(INSERT INTO .* VALUES )(\(.*\))", re.DOTALL)
VALUE: Final = re.compile(r"\?(\d*)")


def write(connection: sqlite3.Connection, sql: str, rows: Sequence[Row]) -> int:
    """Run a statement for each row; how many rows it changed."""
    changed = 0
    if len(rows) >= AT_ONCE and (wide := widened(sql)) is not None:
        whole = len(rows) - len(rows) % AT_ONCE
        for first in range(0, whole, AT_ONCE):
            values = tuple(chain.from_iterable(rows[first : first + AT_ONCE]))
            changed += connection.execute(wide, values).rowcount
        rows = rows[whole:]
    return changed + connection.executemany(sql, rows).rowcount if rows else changed


@cache
def widened(sql: str) -> str | None:
    """The same statement for `AT_ONCE` rows; None if it is no plain INSERT, or has many values."""
    parts = INSERT.fullmatch(sql)
    if parts is None:
        return None
    into, row = parts.groups()
    given = [int(number or 0) for number in VALUE.findall(row)]
    width = max(given) or len(given)
    if width * AT_ONCE > MOST_VALUES:
        return None
    return into + ", ".join(_numbered(row, place * width) for place in range(AT_ONCE))


def _numbered(row: str, before: int) -> str:
    """A row's values, numbered behind so many others."""
    counted = count(1)
    return VALUE.sub(lambda value: f"?{int(value[1] or next(counted)) + before}", row)
