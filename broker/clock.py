"""Time and chance: the only file of the broker that reads a clock or makes random values.

Owns: the wall clock that never goes back, secrets, jitter. Tests put a clock and a source of chance
of their own in its place.
"""

from __future__ import annotations

import random
import secrets
import time
from hashlib import sha256
from typing import Protocol

monotonic = time.monotonic
"""Seconds since some start: for spans, never for instants."""


class Clock(Protocol):
    """What the broker asks of time."""

    def now(self) -> int:
        """Epoch milliseconds, never less than it said before."""

    def monotonic(self) -> float:
        """Seconds since some start, for spans."""

    def not_before(self, instant: int) -> None:
        """Time has been this late already: it never goes back, over a restart either."""


class SystemClock:
    """Wall time at the start plus the time since: a changed system clock moves nothing."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = (time.time_ns() - time.monotonic_ns()) // 1_000_000

    def now(self) -> int:
        return time.monotonic_ns() // 1_000_000 + self._offset

    def monotonic(self) -> float:
        return time.monotonic()

    def not_before(self, instant: int) -> None:
        self._offset += max(instant - self.now(), 0)


class Chance(Protocol):
    """What the broker asks of chance."""

    def secret(self) -> str:
        """A value that nobody can guess."""

    def label(self) -> str:
        """A short name that is most likely new."""

    def jitter(self) -> float:
        """A factor between 0.5 and 1."""


class SystemChance:
    """Chance from the operating system."""

    __slots__ = ()

    def secret(self) -> str:
        return secrets.token_urlsafe(24)

    def label(self) -> str:
        return secrets.token_hex(4)

    def jitter(self) -> float:
        return random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


def digest(text: str) -> bytes:
    """What is stored of a secret."""
    return sha256(text.encode()).digest()


def same_digest(one: bytes, other: bytes) -> bool:
    """Compare two digests in a time that does not depend on them."""
    return secrets.compare_digest(one, other)
