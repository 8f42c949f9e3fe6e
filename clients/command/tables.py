"""Tables for people. The only importer of rich for output: it costs more than a whole request.

Owns: how a table looks, narrow and wide. Knows nothing of what stands in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNBOUNDED: Final = 10_000  # columns of a file or pipe: nothing is folded that a program may read


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without lines."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        made.add_column(Text(head.upper().replace("_", " ")), overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def console() -> Console:
    """Standard output."""
    width = None if sys.stdout.isatty() else UNBOUNDED
    return Console(width=width, highlight=False, markup=False, emoji=False)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    console().print(table(heads, rows), soft_wrap=not sys.stdout.isatty())
