"""Keeping leases alive: one table and one timer for everything that a client holds.

Owns: when each lease is renewed next. How it is renewed, and what it is a lease of, is the
holder's. Most of what is held is settled long before its lease is half over, so being held costs an
entry and nothing else; what is due is looked for at every tenth of the shortest lease.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

SHARE: Final = 0.5
"""Of a lease, how much may pass before it is renewed: the rest is for a slow or lost answer."""
RHYTHM: Final = 0.1
"""Of the shortest lease, how much passes between two looks. Renewals of one look leave together."""


class Held(Protocol):
    """Something that is held under a lease."""

    def renew(self) -> None:
        """Ask for a longer lease. Whoever does calls `Leases.hold` again with the answer."""


class Leases:
    """The renewals of one client."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._held: dict[Held, float] = {}
        """Until when each is to be renewed."""
        self._rhythm = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How much is held."""
        return len(self._held)

    def hold(self, held: Held, lease_ms: int) -> None:
        """Renew this in time, counting from now."""
        seconds = lease_ms / 1000
        self._held[held] = self._time() + seconds * SHARE
        if seconds * RHYTHM < self._rhythm:
            self._beat(seconds * RHYTHM)

    def let_go(self, held: Held) -> None:
        """Renew this no more."""
        self._held.pop(held, None)

    def close(self) -> None:
        """Renew nothing any more."""
        self._held.clear()
        self._beat(float("inf"))

    def _beat(self, rhythm: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rhythm = rhythm
        self._timer = self._loop.call_later(rhythm, self._look) if self._held else None

    def _look(self) -> None:
        """Renew what may not wait for the next look; stop looking when nothing is held."""
        next_look = self._time() + self._rhythm
        for held in [held for held, due in self._held.items() if due <= next_look]:
            if self._held.pop(held, None) is not None:
                held.renew()
        self._beat(self._rhythm if self._held else float("inf"))
