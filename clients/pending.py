"""A request under way, from its frame to its answer.

Owns: how frames of an operation begin and what its answers are, and who is told when one is over.
Knows nothing of connections: what is sent again, and when, is the requests' to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from broker.wire.frames import Answer, Request
from clients.errors import Closed, PostroomError, ProtocolFault

log = logging.getLogger("postroom.client")

T = TypeVar("T")


class Verb:
    """An operation on the wire: how its frames begin, and what its answers are."""

    __slots__ = ("_decode", "answer", "head", "op")

    def __init__(self, struct: type[Request]) -> None:
        self.op = str(struct.__struct_config__.tag)
        self.head = b'{"op":"%b","id":' % self.op.encode()
        self.answer = struct.Answer
        self._decode: Callable[[Raw], Answer] | None = None

    def bare(self, id: int) -> bytes:
        """Make a frame without fields."""
        return b"%b%d}" % (self.head, id)

    def read(self, ok: Raw) -> Any:
        """Decode an answer. Who asked does that: an answer is then gone before the next is made."""
        decode = self._decode
        if decode is None:  # made late: a command needs one of sixty
            decode = self._decode = msgspec.json.Decoder(self.answer).decode
        try:
            return decode(ok)
        except msgspec.DecodeError as fault:
            text = f"the answer to {self.op} can't be read: {fault}"
            raise ProtocolFault(text) from fault


# Made for each request: a struct that the collector passes over, and no future with its callbacks,
# each of which is an object that the collector looks at and a turn through the loop.
class Pending(Struct, Generic[T], gc=False, eq=False, kw_only=True):
    """A request under way: await its answer, or have it told to a function."""

    verb: Verb
    repeat: bool = False
    """Whether it is sent again after a lost connection, instead of failing."""
    id: int = 0
    frame: bytes = b""
    """What is sent; kept only as long as it may have to be sent again."""
    fault: PostroomError | None = None
    """What went wrong, if anything did."""
    ok: Raw | None = None
    waiter: asyncio.Future[Raw] | None = None
    """Who waits for it from the beginning, and decodes the answer; all others are told."""
    told: Callable[[Pending[T]], None] | None = None
    """Who is told besides."""

    def __repr__(self) -> str:
        """Name the operation; never show a body."""
        return f"<{type(self).__name__} {self.verb.op} {self.id}>"

    @property
    def over(self) -> bool:
        """Whether it was answered, or never will be."""
        return self.ok is not None or self.fault is not None

    @property
    def abandoned(self) -> bool:
        """Whether nobody cares any more: what was not sent never will be."""
        return self.waiter is not None and self.waiter.done()

    def result(self) -> T:
        """Give the answer of one that is over, or raise what went wrong."""
        if self.fault is not None:
            raise self.fault
        if self.ok is None:
            raise RuntimeError(f"{self.verb.op} is not answered yet")
        answer: T = self.verb.read(self.ok)
        return answer

    def then(self, function: Callable[[Pending[T]], None]) -> None:
        """Call this with the request when it is over; at once if it is.

        It is called while a message of the broker is taken in: it must not block, and may begin
        other requests.
        """
        if self.over:
            function(self)
        elif self.told is None:
            self.told = function
        elif isinstance(self.told, _Several):
            self.told.functions.append(function)
        else:
            self.told = _Several([self.told, function])

    def __await__(self) -> Generator[Any, None, T]:
        """Wait until it is over. Who stops waiting takes nothing back."""
        if not self.over:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.then(partial(_wake, waiter))
            yield from waiter
        return self.result()

    # -- what the requests tell -------------------------------------------------------------------

    def answered(self, ok: Raw) -> None:
        """The broker did it."""
        self.ok = ok
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(ok)
        self._tell()

    def failed(self, fault: PostroomError) -> None:
        """It was refused, or nobody knows."""
        self.fault = fault
        waiter = self.waiter
        if waiter is not None:
            if not waiter.done():
                waiter.set_exception(fault)
        elif self.told is None:
            level = logging.INFO if isinstance(fault, Closed) else logging.WARNING
            log.log(level, "%s, for which nobody waits: %s", self.verb.op, fault)
        self._tell()

    def _tell(self) -> None:
        told, self.told = self.told, None
        if told is not None:
            try:
                told(self)
            except Exception as fault:  # noqa: BLE001 - the application's: not the connection's end
                _report(self, fault)


class _Several:
    """More than one to be told, each of whom may fail by itself."""

    __slots__ = ("functions",)

    def __init__(self, functions: list[Callable[[Pending[Any]], None]]) -> None:
        self.functions = functions

    def __call__(self, pending: Pending[Any]) -> None:
        for function in self.functions:
            try:
                function(pending)
            except Exception as fault:  # noqa: BLE001 - see above
                _report(pending, fault)


def _report(pending: Pending[Any], fault: Exception) -> None:
    text = f"in what was to be done when {pending.verb.op} was over"
    asyncio.get_running_loop().call_exception_handler({"message": text, "exception": fault})


def _wake(waiter: asyncio.Future[None], _: Pending[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)
