"""Requests under way: numbered, matched with their replies, repeated where that is safe.

Owns: which request waits for what, and what becomes of it when the connection is lost.
Knows nothing of sockets or of what an operation means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw

from broker.wire.errors import ErrorBody
from clients.errors import BY_CODE, ConnectionLost, PostroomError, refused
from clients.pending import Pending, Verb

log = logging.getLogger("postroom.client")

DRAINING: Final = "draining"
NO_LIMIT: Final = 2**62


class Requests:
    """All requests of one client, over all its connections."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        """Asking for it each time is a system call."""
        self.sent: dict[int | str, Pending[Any]] = {}
        """What waits for a reply, by its id; who takes one out tells it the reply."""
        self.frame_limit = NO_LIMIT
        """Bytes of a message that the broker takes."""
        self._last = 0
        self._unsent: list[Pending[Any]] = []
        self._send: Callable[[bytes], None] | None = None
        self._over: PostroomError | None = None

    def begin(self, send: Callable[[bytes], None]) -> None:
        """There is a conversation: what waited for one goes out."""
        self._send = send
        unsent, self._unsent = self._unsent, []
        for pending in unsent:
            if not pending.abandoned:
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

    def ask(self, verb: Verb, fields: bytes, *, repeat: bool = False) -> Pending[Any]:
        """Send a request."""
        pending: Pending[Any] = Pending(verb=verb, repeat=repeat)
        self.put(pending, fields)
        return pending

    def put(self, pending: Pending[Any], fields: bytes) -> None:
        """Number a request and send it, now or when there is a connection."""
        if self._over is not None:
            raise self._over.again()
        self._last = id = self._last + 1
        verb = pending.verb
        frame = verb.head + b"%d," % id + fields[1:] if len(fields) > 2 else verb.bare(id)
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

    def withdraw(self, pending: Pending[Any]) -> bool:
        """Take back what waits to be sent; whether it did."""
        waits = pending in self._unsent
        if waits:
            self._unsent.remove(pending)
        return waits

    def answered(self, id: int | str, ok: Raw, error: ErrorBody | None) -> None:
        """A reply has come."""
        pending = self.sent.pop(id, None)
        if pending is None:
            log.warning("a reply to %r, which nobody waits for", id)
        elif error is None:
            pending.answered(ok)
        elif error.code == DRAINING and pending.repeat:
            self._unsent.append(pending)
        else:
            pending.failed(refused(error, pending.verb.op))


def unheard(pending: Pending[Any]) -> None:
    """Hear an answer that changes nothing."""
    if pending.fault is not None:
        log.info("%s: %s", pending.verb.op, pending.fault)


def too_large(size: int, limit: int) -> PostroomError:
    """Refuse here what the broker would close the connection for."""
    text = f"a request of {size:,} bytes, over the {limit:,} that the broker takes"
    return BY_CODE["too_large"](ErrorBody("too_large", text, False))
