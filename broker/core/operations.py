"""The table of operations: which function handles which request, and how it is run.

Owns: registration. Areas fill one table each, the composition root merges them. Knows no operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from msgspec import UnsetType

from broker.wire.errors import CODES
from broker.wire.frames import Request, RequestId

if TYPE_CHECKING:
    from broker.core.turn import Turn
    from broker.store.sqlite import Look

Function = TypeVar("Function", bound=Callable[..., Any])
Step = Callable[["Turn"], None]


class Operation:
    """One operation: its handler, its conduct and its counters."""

    __slots__ = ("counts", "drains", "function", "greets", "hot", "name", "reads")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        hot: bool = False,
        drains: bool = False,
        greets: bool = False,
        reads: bool = False,
    ) -> None:
        self.name = name
        self.function = function
        self.hot = hot
        """Refuses before its first change only, so it needs no savepoint."""
        self.drains = drains
        """Still taken while the broker goes away."""
        self.greets = greets
        """Taken before hello."""
        self.reads = reads
        """Changes nothing, and may answer with a `Looking`."""
        self.counts = dict.fromkeys(("ok", *sorted(CODES)), 0)


class Looking:
    """An answer that is still to be read from the database, beside the writer."""

    __slots__ = ("function", "operation", "request_id")

    operation: Operation
    request_id: RequestId | UnsetType

    def __init__(self, function: Callable[[Look], Any]) -> None:
        self.function = function


class _Later:
    """The answer comes by itself, later."""


LATER: Final = _Later()


class Hook(Protocol):
    """What a later noun hears of the mails of its kind, inside the same transaction."""

    def on_claimed(self, turn: Turn, message: int) -> None:
        """A delivery of this message was handed over."""

    def on_ended(self, turn: Turn, message: int, state: str, reason: str | None) -> None:
        """A delivery of this message has ended."""


class Operations:
    """What an area handles, what it does when time has passed, and after each request."""

    def __init__(self) -> None:
        self.table: dict[type[Request], Operation] = {}
        self.sweeps: list[Step] = []
        self.settlers: list[Step] = []
        self.hooks: dict[str, Hook] = {}
        self.listeners: dict[str, list[Callable[..., None]]] = {}

    def handle(
        self,
        request: type[Request],
        *,
        hot: bool = False,
        drains: bool = False,
        greets: bool = False,
        reads: bool = False,
    ) -> Callable[[Function], Function]:
        """The function below handles this request: `(turn, caller, request) -> answer`."""
        name = request.__struct_config__.tag

        def register(function: Function) -> Function:
            assert request not in self.table, name
            self.table[request] = Operation(
                str(name), function, hot=hot, drains=drains or reads, greets=greets, reads=reads
            )
            return function

        return register

    def sweep(self, function: Step) -> Step:
        """The function below does what is due, a bounded piece of it, and asks to be woken."""
        self.sweeps.append(function)
        return function

    def settle(self, function: Step) -> Step:
        """The function below runs after a request that stirred a mailbox."""
        self.settlers.append(function)
        return function

    def on(self, occasion: str) -> Callable[[Function], Function]:
        """The function below runs when an earlier noun tells of this occasion."""

        def register(function: Function) -> Function:
            self.listeners.setdefault(occasion, []).append(function)
            return function

        return register

    def merge(self, other: Operations) -> None:
        """Take in the table of another area."""
        double = self.table.keys() & other.table.keys()
        assert not double, double
        self.table.update(other.table)
        self.sweeps.extend(other.sweeps)
        self.settlers.extend(other.settlers)
        self.hooks.update(other.hooks)
        for occasion, listeners in other.listeners.items():
            self.listeners.setdefault(occasion, []).extend(listeners)
