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

    @property
    def wanted(self) -> bool:
        """Whether it is still held."""

    def renew(self) -> None:
        """Ask for a longer lease. Whoever does calls `Leases.hold` again with the answer."""


class Leases:
    """The renewals of one client."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._heap: list[tuple[float, int, float, Held]] = []
        self._last = 0
        self._let_go = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = float("inf")

    def __len__(self) -> int:
        """How many entries there are, those of what was let go included."""
        return len(self._heap)

    def hold(self, held: Held, lease_ms: int) -> None:
        """Renew this in time, counting from now."""
        seconds = lease_ms * (SHARE / 1000)
        due = self._time() + seconds
        self._last = number = self._last + 1
        heappush(self._heap, (due, number, seconds, held))
        if due < self._armed:
            self._arm(due)

    def let_go(self) -> None:
        """Something is not held any more. Its entry goes when there are many of the kind."""
        self._let_go += 1
        if self._let_go > IDLE_ENTRIES and self._let_go * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[3].wanted]
            heapify(self._heap)
            self._let_go = 0
            if not self._heap:
                self._disarm()

    def close(self) -> None:
        """Renew nothing any more."""
        self._heap.clear()
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
            held = heappop(heap)[3]
            if held.wanted:
                held.renew()
            else:
                self._let_go -= 1
        if heap:
            self._arm(heap[0][0])
