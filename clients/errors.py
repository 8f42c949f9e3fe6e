"""Every exception that an application may want to catch, one for each error code among them.

Owns: the classes of the codes, made from the codes of the wire, so that a new code needs no edit:
`not_found` is `NotFound`. What editors and type checkers see of them is the stub beside this file,
which `python -m clients.stubs --write` makes.
"""

from __future__ import annotations

from typing import Final

from broker.wire.errors import MEANINGS, RETRYABLE, ErrorBody
from clients.faults import (
    AskTimedOut,
    BodyUnreadable,
    Closed,
    ConnectionLost,
    EventsLost,
    NotDraining,
    PostroomError,
    ProtocolFault,
    Refused,
    Replaced,
    Retryable,
    Undelivered,
    Unreachable,
)


def class_name(code: str) -> str:
    """Turn a code into the name of its class."""
    return "".join(word.capitalize() for word in code.split("_"))


def _made(code: str, meaning: str) -> type[Refused]:
    base = Retryable if code in RETRYABLE else Refused
    body = {"__doc__": meaning, "__module__": __name__, "code": code}
    return type(class_name(code), (base,), body)


BY_CODE: Final[dict[str, type[Refused]]] = {
    code: _made(code, meaning) for code, meaning in MEANINGS.items()
}
"""The class of each code. A code that this version does not know is a plain `Refused`."""

globals().update({made.__name__: made for made in BY_CODE.values()})


def refused(error: ErrorBody, op: str | None = None) -> Refused:
    """Make the exception of an error as it stands on the wire."""
    return BY_CODE.get(error.code, Refused)(error, op)


__all__ = [
    "BY_CODE",
    "AskTimedOut",
    "BodyUnreadable",
    "Closed",
    "ConnectionLost",
    "EventsLost",
    "NotDraining",
    "PostroomError",
    "ProtocolFault",
    "Refused",
    "Replaced",
    "Retryable",
    "Undelivered",
    "Unreachable",
    "class_name",
    "refused",
]
__all__ += [made.__name__ for made in BY_CODE.values()]
