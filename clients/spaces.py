"""The operations as methods: `me.peer.list()`, `me.group.join("@team")`, a space for each noun.

Owns: the making of spaces and methods from the wire structs, at import. Editors and type checkers
see the stub beside this file, which `python -m clients.stubs --write` makes from the same structs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from clients.caller import TABLE, Caller, Operation
from clients.rooms import ROOMS, Home, Room


def _method(operation: Operation) -> Callable[..., Awaitable[Any]]:
    def method(
        space: Room,
        /,
        *values: Any,
        timeout: float | None = None,
        repeat: bool = False,
        **fields: Any,
    ) -> Awaitable[Any]:
        if values:
            fields = operation.positional(values, fields)
        return space.caller.do(operation, fields, timeout, repeat)

    method.__name__ = operation.op.split(".")[1]
    method.__qualname__ = operation.op
    method.__doc__ = operation.struct.__doc__
    return method


def _space(noun: str) -> type[Room]:
    base = ROOMS.get(noun, Room)
    methods = {
        verb: _method(operation)
        for op, operation in TABLE.items()
        for of, _, verb in [op.partition(".")]
        if of == noun and verb not in vars(base)
    }
    return type(f"{noun.capitalize()}Space", (base,), {"__module__": __name__, **methods})


NOUNS: Final = tuple(dict.fromkeys(op.partition(".")[0] for op in TABLE))
SPACES: Final = {noun: _space(noun) for noun in NOUNS}

globals().update({space.__name__: space for space in SPACES.values()})


class Operations(Caller):
    """A caller with a space for each noun."""

    def make_spaces(self, home: Home) -> None:
        """Give this client its spaces."""
        for noun, space in SPACES.items():
            setattr(self, noun, space(self, home))
