"""Keeping leases alive: one heap and one timer for everything that a client holds.

Owns: when each lease is renewed next. How it is renewed, and what it is a lease of, is the
holder's. No task, and no timer of its own, for any of them.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from typing import Final, Protocol

SHARE: Final = 0.5
"""Of a lease, how much passes before it is renewed: the other half is for a slow or lost answer."""
TOGETHER: Final = 0.1
"""Of a lease, how much earlier it is renewed to leave in one message with others."""
IDLE_ENTRIES: Final = 64
"""So many entries of what is not held any more cost nothing worth saving."""


class Held(Protocol):
    """Something that is held under a lease."""

    ticket: int
    """By which the leases know it; 0 when they don't."""

    def renew(self) -> None:
        """Ask for a longer lease. Whoever does calls `Leases.hold` again with the answer."""


class Leases:
    """The renewals of one client."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        # The heap keeps nothing alive: a mail and its body go when it is settled, not when its
        # entry comes up.
        self._heap: list[tuple[float, int, float]] = []
        self._held: dict[int, Held] = {}
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = float("inf")

    def __len__(self) -> int:
        """How many entries there are, those of what was let go included."""
        return len(self._heap)

    def hold(self, held: Held, lease_ms: int) -> None:
        """Renew this in time, counting from now."""
        seconds = lease_ms * (SHARE / 1000)
        due = self._time() + seconds
        if held.ticket:
            self._held.pop(held.ticket, None)
        self._last = held.ticket = ticket = self._last + 1
        self._held[ticket] = held
        heappush(self._heap, (due, ticket, seconds))
        if due < self._armed:
            self._arm(due)

    def let_go(self, held: Held) -> None:
        """Renew this no more. Its entry goes when there are many of the kind."""
        self._held.pop(held.ticket, None)
        held.ticket = 0
        if len(self._heap) > 2 * len(self._held) + IDLE_ENTRIES:
            self._heap = [entry for entry in self._heap if entry[1] in self._held]
            heapify(self._heap)
            if not self._heap:
                self._disarm()

    def close(self) -> None:
        """Renew nothing any more."""
        self._heap.clear()
        self._held.clear()
        self._disarm()

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = due
        self._timer = self._loop.call_at(due, self._due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._armed = None, float("inf")

    def _due(self) -> None:
        self._timer, self._armed = None, float("inf")
        now = self._time()
        heap = self._heap
        while heap and heap[0][0] - heap[0][2] * TOGETHER <= now:
            held = self._held.pop(heappop(heap)[1], None)
            if held is not None:
                held.renew()
        if heap:
            self._arm(heap[0][0])
