"""A command as a function that cyclopts can call: its own arguments, and those that all share.

Owns: the arguments of the connection and the output, and the making of a command from an operation.
Knows no operation by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter as Argument
from inspect import Signature
from typing import Annotated, Any, Final

from cyclopts import Group, Parameter

from broker.wire import Request
from clients.command.failures import WrongUsage
from clients.command.fields import Field, fields_of
from clients.command.lookup import Flags
from clients.command.parameters import arguments
from clients.command.session import Session
from clients.command.show import answer
from clients.command.values import request_of

CONNECTION: Final = Group("Connection", sort_key=90)
OUTPUT: Final = Group("Output", sort_key=80)

Given = dict[str, Any]
Run = Callable[[Session, Given], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: what it takes and what it does."""

    help: str
    arguments: Sequence[Argument]
    run: Run
    shared: Field | None = None
    """A field whose flag is one of the connection's: the words that it allows are its own."""


def option(argument: str, hint: Any, text: str, **said: Any) -> Argument:
    """An argument with a flag, for what is no field of an operation."""
    default = False if hint is bool else None
    parameter = Parameter(
        **{
            "name": "--" + argument.replace("_", "-"),
            "help": text,
            "negative": (),
            "show_default": False,
            **said,
        }
    )
    return Argument(
        argument, Argument.KEYWORD_ONLY, default=default, annotation=Annotated[hint, parameter]
    )


PAGE: Final = frozenset({"limit", "after"})
"""Who gives one of these wants one page of a list; else all pages make one answer."""
TEXT: Final = str | None
SHARED: Final = (
    option("url", TEXT, "the broker, ws://HOST:PORT/v1", group=CONNECTION),
    option("mesh", TEXT, "the mesh", group=CONNECTION),
    option("member", list[str] | None, "the member to be", name="--as", group=CONNECTION),
    option("token_file", TEXT, "a file with the token (`-`: stdin)", group=CONNECTION),
    option("token", TEXT, "the token itself, for all on this machine to see", group=CONNECTION),
    option("json", bool, "one JSON document, for programs", group=OUTPUT),
)
TAKEN: Final = frozenset({"--url", "--mesh", "--as", "--token-file", "--token", "--json"})
DASH: Final = "\u200b-"
"""A `-` that stands alone, while it is parsed: it means standard input and is no option."""
SWITCHES: Final = frozenset({"--json"})
"""Those of them that take no value."""


def of_operation(struct: type[Request], *, leave: bool) -> Command:
    """The command that is one operation."""
    fields = fields_of(struct)

    async def run(session: Session, given: Given) -> None:
        request = request_of(struct, fields, given)
        one_page = not given.keys().isdisjoint(PAGE)
        answer(await session.ask(request, one_page=one_page, leave=leave), json=session.json)

    shared = [one for one in fields if one.flag in TAKEN and one.choices]
    return Command(
        (struct.__doc__ or "").strip(),
        arguments(fields, TAKEN),
        run,
        shared[0] if shared else None,
    )


def function(name: str, command: Command) -> Callable[..., Awaitable[None]]:
    """The command as cyclopts reads it: a function with a signature."""
    # A field may have the name of a shared argument: theirs are kept apart.
    shared = [one.replace(name=f"shared_{one.name}") for one in SHARED]
    signature = Signature(sorted([*command.arguments, *shared], key=lambda one: one.kind))

    async def run(*values: Any, **named: Any) -> None:
        given = signature.bind(*values, **named).arguments
        given = {name: _dash(value) for name, value in given.items()}
        connection = {one.name: given.pop(f"shared_{one.name}", None) for one in SHARED}
        await command.run(_session(command, connection, given), given)

    run.__name__ = name
    run.__doc__ = command.help
    run.__signature__ = signature  # type: ignore[attr-defined]  # what inspect looks for
    return run


def _dash(value: Any) -> Any:
    return "-" if value == DASH else value


def _session(command: Command, connection: Given, given: Given) -> Session:
    members = []
    for word in connection["member"] or []:
        if command.shared is not None and word in command.shared.choices:
            given[command.shared.name] = word
        else:
            members.append(word)
    if len(members) > 1:
        raise WrongUsage(f"--as: one member at a time, not {' and '.join(members)}")
    flags = Flags(
        url=connection["url"],
        mesh=connection["mesh"],
        member=members[0] if members else None,
        token_file=connection["token_file"],
        token=connection["token"],
    )
    return Session(flags, bool(connection["json"]))
