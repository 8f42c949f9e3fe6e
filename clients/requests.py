"""Requests under way: numbered, matched with their replies, repeated where that is safe.

Owns: which request waits for what, and what becomes of it when the connection is lost.
Knows nothing of sockets or of what an operation means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from broker.wire.errors import ErrorBody
from broker.wire.frames import Answer, Request
from clients.errors import BY_CODE, ConnectionLost, PostroomError, ProtocolFault, refused

log = logging.getLogger("postroom.client")

DRAINING: Final = "draining"
NO_LIMIT: Final = 2**62

Told = Callable[[Answer | PostroomError], None]


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

    def read(self, ok: Raw) -> Answer:
        """Decode an answer. Who asked does that: an answer is then gone before the next is made."""
        decode = self._decode
        if decode is None:  # made late: a command needs one of sixty
            decode = self._decode = msgspec.json.Decoder(self.answer).decode
        try:
            return decode(ok)
        except msgspec.DecodeError as fault:
            text = f"the answer to {self.op} can't be read: {fault}"
            raise ProtocolFault(text) from fault


def tell_waiter(waiter: asyncio.Future[Any], verb: Verb, ok: Raw, *, decoded: bool) -> None:
    """Give an answer to whoever waits for it."""
    if waiter.done():
        return
    if not decoded:
        waiter.set_result(ok)
        return
    try:
        waiter.set_result(verb.read(ok))
    except ProtocolFault as fault:
        waiter.set_exception(fault)


# These are made for each message: structs that the collector passes over. None outlives its reply.
class Pending(Struct, gc=False, eq=False, kw_only=True):
    """A request whose reply has not come."""

    verb: Verb
    repeat: bool = False
    """Whether it is sent again after a lost connection, instead of failing."""
    id: int = 0
    frame: bytes = b""
    """What is sent; kept only as long as it may have to be sent again."""

    def done(self, ok: Raw) -> None:
        """The broker did it."""
        raise NotImplementedError

    def failed(self, fault: PostroomError) -> None:
        """It was refused, or nobody knows."""
        raise NotImplementedError

    def abandoned(self) -> bool:
        """Whether nobody cares any more."""
        return False


class Asked(Pending, gc=False, eq=False, kw_only=True):
    """A request with a future for its answer."""

    waiter: asyncio.Future[Any]
    decoded: bool = False
    """Whether the future is the answer itself, or what its task decodes when it goes on."""

    def done(self, ok: Raw) -> None:
        """Wake whoever waits."""
        tell_waiter(self.waiter, self.verb, ok, decoded=self.decoded)

    def failed(self, fault: PostroomError) -> None:
        """Wake whoever waits with what went wrong."""
        if not self.waiter.done():
            self.waiter.set_exception(fault)

    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        return self.waiter.done()


class Notice(Pending, gc=False, eq=False, kw_only=True):
    """A request whose reply is told to a function: no task waits."""

    told: Told

    def done(self, ok: Raw) -> None:
        """Tell the answer."""
        try:
            answer: Answer | PostroomError = self.verb.read(ok)
        except ProtocolFault as fault:
            answer = fault
        self.told(answer)

    def failed(self, fault: PostroomError) -> None:
        """Tell what went wrong."""
        self.told(fault)


class Requests:
    """All requests of one client, over all its connections."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sent: dict[int | str, Pending] = {}
        """What waits for a reply, by its id; who takes one out tells it the reply."""
        self.frame_limit = NO_LIMIT
        """Bytes of a message that the broker takes."""
        self._last = 0
        self._unsent: list[Pending] = []
        self._send: Callable[[bytes], None] | None = None
        self._over: PostroomError | None = None

    def begin(self, send: Callable[[bytes], None]) -> None:
        """There is a conversation: what waited for one goes out."""
        self._send = send
        unsent, self._unsent = self._unsent, []
        for pending in unsent:
            if not pending.abandoned():
                self.sent[pending.id] = pending
                send(pending.frame)

    def lose(self, reason: str, close_code: int) -> None:
        """The connection is gone. What may be repeated waits for the next one, the rest fails."""
        self._send = None
        sent, self.sent = self.sent, {}
        self._unsent[:0] = [pending for pending in sent.values() if pending.repeat]
        for pending in sent.values():
            if not pending.repeat:
                text = f"the connection was lost before {pending.verb.op} was answered: {reason}"
                pending.failed(ConnectionLost(text, close_code))

    def finish(self, fault: PostroomError) -> None:
        """There will be no other connection."""
        self._send, self._over = None, fault
        left = [*self.sent.values(), *self._unsent]
        self.sent, self._unsent = {}, []
        for pending in left:
            pending.failed(fault.again())

    def ask(self, verb: Verb, fields: bytes, *, repeat: bool = False) -> asyncio.Future[Raw]:
        """Send a request; the future is its answer, to be read by the verb."""
        waiter: asyncio.Future[Raw] = self.loop.create_future()
        self.put(Asked(verb=verb, repeat=repeat, waiter=waiter), fields)
        return waiter

    def tell(
        self, verb: Verb, fields: bytes, told: Told | None = None, *, repeat: bool = False
    ) -> None:
        """Send a request for whose answer no task waits."""
        self.put(Notice(verb=verb, repeat=repeat, told=told or unheard), fields)

    def put(self, pending: Pending, fields: bytes) -> None:
        """Number a request and send it, now or when there is a connection."""
        if self._over is not None:
            raise self._over.again()
        self._last = id = self._last + 1
        verb = pending.verb
        frame = b"%b%d,%b" % (verb.head, id, fields[1:]) if len(fields) > 2 else verb.bare(id)
        if len(frame) > self.frame_limit:
            raise too_large(len(frame), self.frame_limit)
        pending.id = id
        if self._send is None:
            pending.frame = frame
            self._unsent.append(pending)
            return
        if pending.repeat:
            pending.frame = frame
        self.sent[id] = pending
        self._send(frame)

    def answered(self, id: int | str, ok: Raw, error: ErrorBody | None) -> None:
        """A reply has come."""
        pending = self.sent.pop(id, None)
        if pending is None:
            log.warning("a reply to %r, which nobody waits for", id)
        elif error is None:
            pending.done(ok)
        elif error.code == DRAINING and pending.repeat:
            self._unsent.append(pending)
        else:
            pending.failed(refused(error, pending.verb.op))


def too_large(size: int, limit: int) -> PostroomError:
    """Refuse here what the broker would close the connection for."""
    text = f"a request of {size:,} bytes, over the {limit:,} that the broker takes"
    return BY_CODE["too_large"](ErrorBody("too_large", text, False))


def unheard(answer: Answer | PostroomError) -> None:
    """Hear an answer that changes nothing."""
    if isinstance(answer, PostroomError):
        log.info("refused: %s", answer)
