"""The seam between a socket and a conversation: what each may ask of the other.

Owns: two protocols and the struct that introduces one to the other, nothing else. `net` implements
`Line`, `core.conversation` implements `Talk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a peer's upgrade request said about it."""

    bearer: str | None
    """The token of `Authorization: Bearer`, if there was one."""

    remote: str
    """Where it comes from, for people: `127.0.0.1:50123` or `[::1]:50123`."""


class Line(Protocol):
    """A socket as a conversation sees it. Nothing here waits; writes are joined per loop turn."""

    batch: bool
    """Whether several frames may leave as one JSON array (the peer's hello said so)."""

    def send(self, *frames: bytes) -> None:
        """Queue replies and events, before every delivery that still waits."""

    def deliver(self, frame: bytes) -> None:
        """Queue a delivery, behind all replies and events."""

    def waiting(self) -> Sequence[bytes]:
        """The deliveries of which no byte has left."""

    def close(self, code: int, reason: str) -> None:
        """Let what is queued leave, then close; repeated calls do nothing."""

    def pause(self) -> None:
        """Stop reading from the peer; its silence is then no sign of death."""

    def resume(self) -> None:
        """Read on."""

    def ping(self) -> None:
        """Send a WebSocket ping."""

    def pending(self) -> int:
        """Bytes that the kernel has not taken yet."""

    def abort(self) -> None:
        """Drop the connection at once, without a closing handshake."""


class Talk(Protocol):
    """A conversation as a socket sees it."""

    def received(self, data: bytes, *, binary: bool) -> None:
        """One whole WebSocket message, its UTF-8 not yet checked."""

    def alive(self) -> None:
        """Bytes came: the peer lives, whatever they say."""

    def writable(self) -> None:
        """The outbox has fallen below its low-water mark again."""

    def lost(self) -> None:
        """The socket is gone. Called once, and nothing after it."""

    def tick(self, now: float) -> float:
        """Do what is due (hello time-out, ping, silence, no progress); when to be called next.

        `now` and the answer are monotonic seconds. The line calls this once at the start and then
        at the instant that the last call named.
        """
