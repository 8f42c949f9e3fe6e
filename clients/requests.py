"""Requests under way: numbered, matched with their replies, repeated where that is safe.

Owns: which request waits for what, and what becomes of it when the connection is lost.
Knows nothing of sockets or of what an operation means.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from broker.wire.errors import ErrorBody
from broker.wire.frames import Answer
from clients.errors import ConnectionLost, PostroomError, ProtocolFault, refused

log = logging.getLogger("postroom.client")

DRAINING: Final = "draining"

Decode = Callable[[Raw], Answer]
Told = Callable[[Answer | PostroomError], None]


class Pending:
    """A request whose reply has not come. The reply wakes a waiting task."""

    __slots__ = ("decode", "frame", "id", "op", "repeat", "waiter")

    def __init__(
        self, id: int, op: str, frame: bytes, decode: Decode, repeat: bool, waiter: Any
    ) -> None:
        self.id = id
        self.op = op
        self.frame = frame
        self.decode = decode
        self.repeat = repeat
        """Whether it is sent again after a lost connection, instead of failing."""
        self.waiter = waiter

    def done(self, ok: Raw) -> None:
        """The broker did it."""
        waiter = self.waiter
        if waiter.done():
            return
        try:
            waiter.set_result(self.decode(ok))
        except msgspec.DecodeError as fault:
            waiter.set_exception(ProtocolFault(f"the answer to {self.op} can't be read: {fault}"))

    def failed(self, fault: PostroomError) -> None:
        """It was refused, or nobody knows."""
        if not self.waiter.done():
            self.waiter.set_exception(fault)

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return bool(self.waiter.done())


class Notice(Pending):
    """The same, but the reply is told to a function: no task waits."""

    __slots__ = ()

    def done(self, ok: Raw) -> None:
        """The broker did it."""
        try:
            answer = self.decode(ok)
        except msgspec.DecodeError as fault:
            self.waiter(ProtocolFault(f"the answer to {self.op} can't be read: {fault}"))
        else:
            self.waiter(answer)

    def failed(self, fault: PostroomError) -> None:
        """It was refused, or nobody knows."""
        self.waiter(fault)

    @property
    def abandoned(self) -> bool:
        """What is told to a function is always wanted."""
        return False


class Requests:
    """All requests of one client, over all its connections."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._sent: dict[int, Pending] = {}
        self._unsent: list[Pending] = []
        self._send: Callable[[bytes], None] | None = None
        self._over: PostroomError | None = None

    def begin(self, send: Callable[[bytes], None]) -> None:
        """There is a conversation: what waited for one goes out."""
        self._send = send
        unsent, self._unsent = self._unsent, []
        for pending in unsent:
            if not pending.abandoned:
                self._sent[pending.id] = pending
                send(pending.frame)

    def lose(self, reason: str, close_code: int) -> None:
        """The connection is gone. What may be repeated waits for the next one, the rest fails."""
        self._send = None
        sent, self._sent = self._sent, {}
        again = [pending for pending in sent.values() if pending.repeat]
        self._unsent[:0] = again
        for pending in sent.values():
            if not pending.repeat:
                text = f"the connection was lost before {pending.op} was answered: {reason}"
                pending.failed(ConnectionLost(text, close_code))

    def finish(self, fault: PostroomError) -> None:
        """There will be no other connection."""
        self._send, self._over = None, fault
        left = [*self._sent.values(), *self._unsent]
        self._sent, self._unsent = {}, []
        for pending in left:
            pending.failed(fault)

    def ask(
        self, op: str, fields: bytes, decode: Decode, *, repeat: bool = False
    ) -> asyncio.Future[Answer]:
        """Send a request; the future is its answer."""
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._take(Pending, op, fields, decode, repeat, waiter)
        return waiter

    def tell(
        self, op: str, fields: bytes, decode: Decode, then: Told, *, repeat: bool = False
    ) -> None:
        """Send a request for whose answer no task waits."""
        self._take(Notice, op, fields, decode, repeat, then)

    def _take(
        self,
        kind: type[Pending],
        op: str,
        fields: bytes,
        decode: Decode,
        repeat: bool,
        waiter: Any,
    ) -> None:
        if self._over is not None:
            raise self._over.with_traceback(None)
        id = next(self._numbers)
        pending = kind(id, op, framed(op, id, fields), decode, repeat, waiter)
        if self._send is None:
            self._unsent.append(pending)
        else:
            self._sent[id] = pending
            self._send(pending.frame)

    def answered(self, id: int | str, ok: Raw, error: ErrorBody | None) -> None:
        """A reply has come."""
        pending = self._sent.pop(id, None)  # type: ignore[arg-type]  # a string is nobody's
        if pending is None:
            log.warning("a reply to %r, which nobody waits for", id)
        elif error is None:
            pending.done(ok)
        elif error.code == DRAINING and pending.repeat:
            self._unsent.append(pending)
        else:
            pending.failed(refused(error, pending.op))


def unheard(answer: Answer | PostroomError) -> None:
    """Hear an answer that changes nothing."""
    if isinstance(answer, PostroomError):
        log.info("refused: %s", answer)


def framed(op: str, id: int, fields: bytes) -> bytes:
    """Make a frame of an operation's encoded fields."""
    head = b'{"op":"%b","id":%d' % (op.encode(), id)
    return head + b"}" if fields == b"{}" else head + b"," + fields[1:]
