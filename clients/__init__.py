"""The Python client of the Postroom broker.

Owns: the names that applications import. `docs/client.md` says how they are used. What a name needs
is imported when it is first used: the command line lives in this package too, and must start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clients import errors
    from clients.asking import Answered, Question, Queued, Working
    from clients.client import Client, connect
    from clients.conversation import Reconnected
    from clients.mail import Mail
    from clients.outputs import output
    from clients.pending import Pending
    from clients.work import Work

__all__ = [
    "Answered",
    "Client",
    "Mail",
    "Pending",
    "Question",
    "Queued",
    "Reconnected",
    "Work",
    "Working",
    "connect",
    "errors",
    "output",
]

_HOMES: Final = {
    "Answered": "asking",
    "Client": "client",
    "Mail": "mail",
    "Pending": "pending",
    "Question": "asking",
    "Queued": "asking",
    "Reconnected": "conversation",
    "Work": "work",
    "Working": "asking",
    "connect": "client",
    "output": "outputs",
}


def __getattr__(name: str) -> object:
    """Import what a name stands for."""
    if name == "errors":
        return import_module("clients.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"clients.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
