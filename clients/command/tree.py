"""The tree of commands: every operation of the wire by its name, and what is composed of them.

Owns: which commands there are. Only the noun that was asked for is built: a command line has no
time to build the others.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Final, Literal

from cyclopts import App, Group, Parameter

from broker import __version__
from broker.wire import OPERATIONS
from clients.command.commands import Command, function, of_operation
from clients.command.steering import STEERING
from clients.command.words import NOUNS

MACHINE: Final = Group("Commands", sort_key=1)
NOUN: Final = Group("Operations", sort_key=2)

OWN: Final = frozenset({"hello", "bye", "peer.watch", "presence.update"})
"""What only makes sense within a connection that lasts."""
HOLDS: Final = frozenset({"mail.claim"})
"""What a goodbye would give back."""
COMPOSED: Final = {
    "peer.list": "clients.command.peers:LIST",
    "mail.receive": "clients.command.receive:RECEIVE",
    "dispatch.retry": "clients.command.work:RETRY",
    "delegation.cancel": "clients.command.work:CANCEL",
    "top": "clients.command.top:TOP",
}
"""What is made of several operations, or of one in words of its own."""
TOP: Final = "Watch peers, mailboxes and delegations."


def tree(noun: str | None = None) -> App:
    """The command tree, with the commands of one noun, or of all if none is named."""
    root = App(
        name="postroom",
        help="Steer and use a Postroom broker.",
        version=__version__,
        group_commands=NOUN,
        help_format="plaintext",  # markdown would take longer to import than the rest of the help
    )
    for name, text in STEERING.items():
        root.command(_elsewhere, name=name, help=text, group=MACHINE)
    top = function("top", _composed("top")) if noun in (None, "top") else _elsewhere
    root.command(top, name="top", help=TOP, group=MACHINE)
    text = "Print what lets a shell complete commands."
    root.command(completion, name="completion", help=text, group=MACHINE)
    for one in dict.fromkeys((*NOUNS, *map(_noun, operations()))):
        app = App(name=one, help=NOUNS.get(one, f"Operations of {one}."), version_flags=())
        if noun in (None, one):
            _fill(app, one)
        root.command(app)
    return root


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="which")]) -> None:
    """Print the script of a shell, to be read at its start."""
    print(tree().generate_completion(prog_name="postroom", shell=shell))


def _elsewhere(*arguments: Annotated[str, Parameter(show=False)]) -> None:
    """Stand in the list for what is built, or run, elsewhere when it is asked for."""


def operations() -> list[str]:
    """The commands that have a noun, as the wire writes them."""
    return [op for op in dict.fromkeys((*OPERATIONS, *COMPOSED)) if "." in op and op not in OWN]


def _noun(op: str) -> str:
    return op.partition(".")[0]


def _fill(app: App, noun: str) -> None:
    for op in operations():
        if _noun(op) == noun:
            verb = op.partition(".")[2]
            command = command_of(op)
            app.command(function(verb, command), name=verb, help=command.help)


def command_of(op: str) -> Command:
    """The command of an operation, or of what is composed of some."""
    return _composed(op) if op in COMPOSED else of_operation(OPERATIONS[op], leave=op not in HOLDS)


def _composed(name: str) -> Command:
    module, _, attribute = COMPOSED[name].partition(":")
    found: Command = getattr(importlib.import_module(module), attribute)
    return found
