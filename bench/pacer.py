"""The instants of an open loop: sends leave at a fixed rate, whatever is unanswered.

Owns: a kernel timer, since the event loop's own timers are as coarse as the times that are measured
here. Must not know how a message travels. A send that is handed over late still counts from the
instant that it was due at, so that waiting is never hidden.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from array import array
from collections.abc import Callable

from bench.case import Latency
from bench.traffic import RunFailed, Traffic, now_ns, summarize

LEAST_TICK_NS = 100_000
"""At higher rates several sends leave together, each counted from its own instant."""
NANO = 1_000_000_000


class _Pace(ctypes.Structure):
    """`struct itimerspec`: the interval, then the first expiry."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


class Pacer:
    """Gives out the sends of one run, round-robin over its senders."""

    def __init__(self, traffic: Traffic, send: Callable[[int, int], None]) -> None:
        self._traffic = traffic
        self._send = send
        self._interval = NANO / traffic.case.offered
        self._count = 0
        self._started_at = 0
        self._late = array("q")
        self._timer = -1

    def start(self) -> None:
        """The first send is due one interval from now."""
        self._timer = _timer(max(int(self._interval), LEAST_TICK_NS))
        self._started_at = now_ns()
        asyncio.get_running_loop().add_reader(self._timer, self._tick)

    @property
    def lateness(self) -> Latency | None:
        """How late the sends were handed over."""
        return summarize(self._late) if self._late else None

    def _tick(self) -> None:
        os.read(self._timer, 8)
        traffic = self._traffic
        senders = traffic.case.senders
        last = traffic.case.seconds * NANO
        now = now_ns()
        while True:
            after = (self._count + 1) * self._interval
            due = self._started_at + int(after)
            if after > last:
                self._stop()
                return
            if due > now:
                return
            self._late.append(now - due)
            self._send(self._count % senders, due)
            self._count += 1

    def _stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._timer)
        os.close(self._timer)
        self._traffic.stop()


def _timer(interval_ns: int) -> int:
    """A descriptor that becomes readable once in each interval."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    pace = _Pace(*divmod(interval_ns, NANO), *divmod(interval_ns, NANO))
    if descriptor < 0 or library.timerfd_settime(descriptor, 0, ctypes.byref(pace), None):
        raise RunFailed(f"no kernel timer: {os.strerror(ctypes.get_errno())}")
    return descriptor
