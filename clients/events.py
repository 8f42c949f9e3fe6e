"""The stream of events: what the broker tells without being asked, to any number of readers.

Owns: the readers and their buffers. A reader that does not keep up loses its place, and is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final
from weakref import WeakSet

from broker.wire.frames import Event
from clients.errors import Closed, EventsLost, PostroomError

BUFFERED: Final = 4_096
"""Events that wait for one reader: a watch of a few thousand peers begins with one for each."""


class Reader:
    """One reader's place in the stream. It reads from the moment it was made."""

    def __init__(self, stream: Events, kinds: tuple[type[Event], ...], buffered: int) -> None:
        self._stream = stream
        self._kinds = kinds
        self._buffered = buffered
        self._waiting: deque[Event] = deque()
        self._overflowed = False
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, event: Event) -> None:
        """Take an event, if this reader wants it."""
        if self._kinds and not isinstance(event, self._kinds):
            return
        if len(self._waiting) >= self._buffered:
            self._overflowed = True
            self._waiting.clear()
        if not self._overflowed:
            self._waiting.append(event)
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Read no more."""
        self._stream.forget(self)

    def __aiter__(self) -> Reader:
        """Read one event after another."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event."""
        while not self._waiting:
            if self._overflowed:
                self._overflowed = False
                raise EventsLost(f"more than {self._buffered} events were not read in time")
            if isinstance(self._stream.fault, Closed):
                raise StopAsyncIteration
            if self._stream.fault is not None:
                raise self._stream.fault.again()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._waiting.popleft()


class Events:
    """All readers of one client."""

    def __init__(self) -> None:
        # A reader that nobody holds any more reads no more.
        self._readers: WeakSet[Reader] = WeakSet()
        self.fault: PostroomError | None = None

    def read(self, *kinds: type[Event], buffered: int = BUFFERED) -> Reader:
        """Begin to read, all events or those of some kinds."""
        reader = Reader(self, kinds, buffered)
        self._readers.add(reader)
        return reader

    def forget(self, reader: Reader) -> None:
        """A reader wants no more."""
        self._readers.discard(reader)

    def tell(self, event: Event) -> None:
        """Give an event to every reader."""
        for reader in self._readers:
            reader.offer(event)

    def finish(self, fault: PostroomError) -> None:
        """There will be no other event."""
        self.fault = fault
        for reader in self._readers:
            reader.wake()
