"""The table of commands on the operations page, made from the commands so that it can't drift.

Owns: how a command is told in a line. `python -m clients.command.reference --write` puts the tables
between the markers of `docs/operations.md`, `--check` fails if they are not what stands there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from inspect import Parameter as Argument
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from clients.command.commands import Command
from clients.command.tree import command_of, operations
from clients.command.words import NOUNS

PAGE: Final = Path("docs/operations.md")
SECTION: Final = re.compile(r"(<!-- made: commands -->\n).*?(<!-- end -->)", re.DOTALL)


def fresh(page: str) -> str:
    """Put the tables between the markers of a page."""
    made = "\n".join(commands())
    text, count = SECTION.subn(lambda section: f"{section[1]}{made}\n{section[2]}", page)
    if count != 1:
        raise ValueError(f"the page marks {count} places for the commands, not one")
    return text


def commands() -> Iterator[str]:
    """All nouns, each with its commands."""
    every = sorted(operations())
    for noun in dict.fromkeys((*NOUNS, *(one.partition(".")[0] for one in every))):
        yield f"\n**{noun}**: {NOUNS.get(noun, '')}\n"
        yield from (
            f"- {usage(one, command_of(one))}: {_sentence(command_of(one).help)}"
            for one in every
            if one.partition(".")[0] == noun
        )


def usage(name: str, command: Command) -> str:
    """A command with its arguments, as code."""
    words = ["postroom", *name.split(".")]
    for argument in command.arguments:
        if argument.kind is not Argument.KEYWORD_ONLY:
            word = argument.name.upper() + "..." * (argument.kind is Argument.VAR_POSITIONAL)
            words.append(word if argument.default is Argument.empty else f"[{word}]")
    words += [f"[{_flag(one)}]" for one in command.arguments if one.kind is Argument.KEYWORD_ONLY]
    return f"`{' '.join(words)}`"


def _flag(argument: Argument) -> str:
    kind, said = argument.annotation.__origin__, argument.annotation.__metadata__[0]
    (name, *_) = said.name
    if _is_switch(kind):
        return str(said.negative[0] if said.negative else name)
    return f"{name} {said.metavar or name.rpartition('-')[2].upper()}"


def _is_switch(kind: Any) -> bool:
    return kind is bool or (get_origin(kind) is not None and bool in get_args(kind))


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def main(arguments: list[str]) -> int:
    """Write the page anew, or tell if it is not fresh."""
    page = PAGE.read_text(encoding="utf-8")
    made = fresh(page)
    if arguments == ["--write"]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    return 0 if made == page else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
