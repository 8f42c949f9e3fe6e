"""The Python client of the Postroom broker.

Owns: the names that applications import. `docs/client.md` says how they are used. What a name needs
is imported when it is first used: the command line lives in this package too, and must start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.wire.mail import Progress
    from broker.wire.presence import PeerChanged, PeerJoined, PeerLeft, PeerSynced
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
    "PeerChanged",
    "PeerJoined",
    "PeerLeft",
    "PeerSynced",
    "Pending",
    "Progress",
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
    "Answered": "clients.asking",
    "Client": "clients.client",
    "Mail": "clients.mail",
    "PeerChanged": "broker.wire.presence",
    "PeerJoined": "broker.wire.presence",
    "PeerLeft": "broker.wire.presence",
    "PeerSynced": "broker.wire.presence",
    "Pending": "clients.pending",
    "Progress": "broker.wire.mail",
    "Question": "clients.asking",
    "Queued": "clients.asking",
    "Reconnected": "clients.conversation",
    "Work": "clients.work",
    "Working": "clients.asking",
    "connect": "clients.client",
    "output": "clients.outputs",
}


def __getattr__(name: str) -> object:
    """Import what a name stands for."""
    if name == "errors":
        return import_module("clients.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
