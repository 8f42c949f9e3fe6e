"""The command line before it is parsed: flags of the connection may stand before the command,
and `-` is a value.

Owns: the order of words. Knows no command.
"""

from __future__ import annotations

from collections.abc import Sequence

from clients.command.commands import DASH, SWITCHES, TAKEN
from clients.command.failures import WrongUsage


def in_order(given: Sequence[str]) -> list[str]:
    """The same, with what stands before the command behind it, where commands look for it."""
    rest, leading = [DASH if word == "-" else word for word in given], []
    while rest and (flag := rest[0].partition("=")[0]) in TAKEN:
        values = 1 if flag in SWITCHES or "=" in rest[0] else 2
        if len(rest) < values:
            raise WrongUsage(f"{flag}: its value is missing")
        leading += rest[:values]
        rest = rest[values:]
    if leading and not rest:
        raise WrongUsage("a command is missing; postroom --help lists them")
    words = next((at for at, word in enumerate(rest) if word.startswith("-")), len(rest))
    words = min(words, 2)
    return [*rest[:words], *leading, *rest[words:]]


def noun_of(given: Sequence[str]) -> str | None:
    """The noun of a command line, if it has one."""
    return given[0] if given and not given[0].startswith("-") else None
