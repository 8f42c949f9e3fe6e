"""Tables for people: in a terminal by rich, which folds what is too wide; else plain columns.

Owns: how a table looks. Knows nothing of what stands in it. Rich is imported for a terminal alone:
that costs more than a whole request.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def headline(name: str) -> str:
    """A field's name over its column."""
    return name.upper().replace("_", " ")


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    if sys.stdout.isatty():
        console().print(table(heads, rows))
    else:
        for line in plain(heads, rows):
            print(line)


def plain(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of any width: a file is not folded."""
    cells = [list(map(headline, heads)), *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without lines, for a terminal."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        made.add_column(Text(headline(head)), overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def console() -> Console:
    """Standard output, as rich writes to it."""
    from rich.console import Console

    class Output(Console):
        """A console that leaves a closed pipe to who knows what that means."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Output(highlight=False, markup=False, emoji=False)
