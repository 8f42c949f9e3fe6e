"""The outgoing half of a connection: what is queued, what the transport holds, who is too slow.

Owns: the outbox of a connection, back-pressure in both directions.
Must not know: HTTP, incoming bytes, the closing handshake; those are the connection's, which is
this half and the rest in one object because every frame that leaves passes here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum

from broker.core.ports import Talk
from broker.net.hub import Hub
from broker.net.outbox import PING, Outbox

HIGH_WATER = 128 * 1024
"""Bytes in the transport above which frames stay here, where replies can still pass deliveries."""
LOW_WATER = 32 * 1024
_ROOM = 256 * 1024
"""Bytes given to the transport at once: more than a kernel's socket buffer takes."""
_CEILING = 8
"""Outboxes' worth of bytes at which even a peer that does read, but less than comes, is cut off."""
_LOOKS = 10
"""How often a peer that is slow to read is looked at before it counts as too slow."""


class Stage(IntEnum):
    """A connection only ever moves on to a later one."""

    REQUEST = 0
    """The HTTP request is being read."""
    OPEN = 1
    """There is a conversation."""
    FLUSHING = 2
    """We want to close; what is queued leaves first."""
    CLOSING = 3
    """Our close frame is written; of what still comes only the peer's counts."""
    ENDING = 4
    """Nothing more is said by either side; the socket is on its way out."""
    GONE = 5


OPEN = Stage.OPEN  # a module's name is found faster than a member of an enumeration


class Writer(asyncio.Protocol, ABC):
    """The sending side of a `Line`."""

    __slots__ = (
        "_full", "_hub", "_left", "_outbox", "_progress", "_stage", "_stuffed", "_talk",
        "_touched", "_transport", "batch",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self.batch = False
        self._hub = hub
        self._stage = Stage.REQUEST
        self._outbox = Outbox()
        self._transport: asyncio.Transport | None = None
        self._talk: Talk | None = None
        self._touched = False  # in the hub's list; also while stuffed, when listing is no use
        self._stuffed = False  # the transport wants no more
        self._full = False  # the outbox was full and has not fallen below half since
        self._left = 0  # bytes in the stuffed transport when last looked at
        self._progress = 0.0  # when that number last fell

    def send(self, *frames: bytes) -> None:
        if self._stage is not OPEN:
            return
        outbox = self._outbox
        outbox.replies += frames
        outbox.size += sum(map(len, frames))
        if not self._touched:
            self._touched = True
            self._hub.touch(self)

    def deliver(self, frame: bytes) -> None:
        if self._stage is not OPEN:
            return
        outbox = self._outbox
        outbox.deliveries.append(frame)
        outbox.size += len(frame)
        if not self._touched:
            self._touched = True
            self._hub.touch(self)

    def waiting(self) -> Sequence[bytes]:
        return self._outbox.deliveries

    def ping(self) -> None:
        if self._stage is OPEN:
            self._send_control(PING)

    def pending(self) -> int:
        size = self._outbox.size + self._unsent()
        if size >= self._hub.limits.outbox:
            self._full = True
        return size

    def flush(self) -> None:
        """Write what is queued, as far as the transport wants it."""
        self._touched = self._stuffed
        if self._stuffed or self._stage >= Stage.ENDING:
            return
        hub = self._hub
        outbox = self._outbox
        while outbox.size and not self._stuffed:
            data, messages = outbox.take(_ROOM, batch=self.batch, limit=hub.limits.frame)
            hub.counters.messages_out += messages
            self._write(data)
        if self._stage is Stage.FLUSHING:
            if not outbox.size:
                self._flushed()
        elif self._full and self.pending() < hub.limits.outbox // 2:
            self._full = False
            if self._talk is not None:
                self._talk.writable()

    def pause_writing(self) -> None:
        self._stuffed = self._touched = True
        self._progress = self._hub.loop.time()
        self._left = self._unsent()
        self._arm(self._next_look(self._progress))

    def resume_writing(self) -> None:
        self._stuffed = False
        self.flush()

    def _send_control(self, data: bytes) -> None:
        self._outbox.add_control(data, only=self._stuffed)
        self._touch()

    def _touch(self) -> None:
        if not self._touched:
            self._touched = True
            self._hub.touch(self)

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is not None and data and not transport.is_closing():
            self._hub.counters.bytes_out += len(data)
            transport.write(data)

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _next_look(self, now: float) -> float:
        return now + self._hub.limits.slow_ms / 1000 / _LOOKS

    def _is_too_slow(self, now: float) -> bool:
        """Whether the peer of a stuffed transport has stopped to read, or fallen too far behind."""
        left = self._unsent()
        if left < self._left:
            self._left = left
            self._progress = now
        limits = self._hub.limits
        if self.pending() >= _CEILING * limits.outbox:
            return True
        return self._full and now - self._progress >= limits.slow_ms / 1000

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Close the connection politely."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the connection at once."""

    @abstractmethod
    def _flushed(self) -> None:
        """Everything that was queued before a close has left."""

    @abstractmethod
    def _arm(self, when: float) -> None:
        """Ask for a look at the clock at that time."""
