"""What makes the executor run: soon after something has come, and when something is due.

Owns: the one timer and the one callback of the executor. Tests run it by hand instead.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from broker.config import SECOND
from broker.core.turn import FAR

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.core.executor import Executor


class Pump(Protocol):
    """What makes the executor run."""

    def schedule(self) -> None:
        """Something waits."""

    def arm(self) -> None:
        """The time of the next due thing may be another."""

    def stop(self) -> None:
        """Nothing is due any more."""


class LoopPump:
    """Runs the executor on the loop: soon after something has come, and when something is due."""

    executor: Executor

    def __init__(self, clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._scheduled = False
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed = FAR

    def schedule(self) -> None:
        """Run a batch in this turn of the loop, after all that has come in it."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        if self._stopped:
            return
        self._scheduled = False
        self.executor.run()
        self.arm()

    def arm(self) -> None:
        """Wake up when the next thing is due."""
        due = self.executor.due()
        if due == self._armed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = due
        if due < FAR:
            seconds = max(due - self._clock.now(), 0) / SECOND
            self._timer = self._loop.call_later(seconds, self._due)

    def _due(self) -> None:
        self._timer, self._armed = None, FAR
        self.schedule()

    def stop(self) -> None:
        """Nothing is due any more, and what waits is not begun."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
