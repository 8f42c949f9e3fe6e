"""What the connections of one server share: limits, hooks, counters, the registry.

Owns: the sets of live connections (their sizes are the only connection counts, so none can leak),
and the list of lines that have something to write in this turn of the loop.
Must not know: how a connection works, what is said on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from broker.core.ports import Greeting, Line, Talk

_VISITORS = 64
"""Sockets beyond the limits that may be there for plain HTTP: health must answer when full."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that net keeps. Those without a default are settings."""

    frame: int
    outbox: int
    connections: int
    unauthenticated: int
    hello_ms: int

    close_ms: int = 5_000
    """How long a peer may take to answer our close before it is dropped."""

    slow_ms: int = 10_000
    """How long a full outbox may stand still before the peer counts as too slow."""

    flush_ms: int = 10_000
    """How long what was queued before a close may take to leave; mail is durable, so cut then."""

    retry_after_s: int = 2
    """What a refused upgrade is told to wait: long enough to let a burst pass."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the application gives to net."""

    accept: Callable[[Line, Greeting], Talk]
    """A peer is connected: its conversation."""

    unauthenticated: Callable[[], int]
    """How many connections have not said hello yet."""

    ready: Callable[[], tuple[bool, str]]
    """What `/readyz` says, and why."""

    metrics: Callable[[str | None], tuple[int, bytes, str]]
    """What `/metrics` says to this bearer token: status, body, type."""


class Counters:
    """Plain totals since the start."""

    __slots__ = ("bytes_in", "bytes_out", "closed", "messages_in", "messages_out", "opened")

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.messages_in = 0
        self.messages_out = 0
        self.bytes_in = 0
        self.bytes_out = 0


class Socket(Protocol):
    """What the hub asks of a connection."""

    def flush(self) -> None:
        """Write what is queued."""

    def close(self, code: int, reason: str) -> None:
        """Close politely."""

    def abort(self) -> None:
        """Drop at once."""


class Hub:
    """One per server, shared by all its connections."""

    __slots__ = (
        "_scheduled",
        "_touched",
        "_waiters",
        "counters",
        "draining",
        "hooks",
        "limits",
        "lines",
        "loop",
        "origins",
        "strangers",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        hooks: Hooks,
        origins: frozenset[str],
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.hooks = hooks
        self.origins = origins
        self.draining = False
        self.counters = Counters()
        self.strangers: set[Socket] = set()
        """Sockets that have not become a conversation: plain HTTP, and upgrades under way."""
        self.lines: set[Socket] = set()
        """Sockets that carry a conversation."""
        self._touched: list[Socket] = []
        self._scheduled = False
        self._waiters: list[asyncio.Event] = []

    @property
    def crowded(self) -> bool:
        """Whether there are more sockets than could ever become conversations."""
        limits = self.limits
        bound = limits.connections + limits.unauthenticated + _VISITORS
        return len(self.lines) + len(self.strangers) > bound

    def touch(self, line: Socket) -> None:
        """This line wants one flush, at the end of this turn of the loop at the latest."""
        self._touched.append(line)
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Let everything leave that is queued anywhere, one write per line."""
        touched = self._touched
        if not touched:
            return
        self._touched = []
        for line in touched:
            try:
                line.flush()
            except Exception:
                log.exception("a line could not be flushed")
                line.abort()

    def forget(self, line: Socket) -> None:
        """This socket is gone."""
        self.strangers.discard(line)
        if line in self.lines:
            self.lines.discard(line)
            self.counters.closed += 1
        if not self.lines:
            for waiter in self._waiters:
                waiter.set()

    async def emptied(self) -> None:
        """Wait until no line is left; strangers have nothing to lose."""
        if self.lines:
            gone = asyncio.Event()
            self._waiters.append(gone)
            await gone.wait()
