"""What one measured run is: who sends how much to whom, and how it is handed to the generator.

Owns: the description of a run and of its outcome, as they travel between the processes.
Knows nothing of sockets, of targets or of tables.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Pattern = Literal["pairs", "burst", "fanout"]


class Case(Struct, frozen=True, kw_only=True):
    """One shape of traffic. It ends by count (`messages` for each sender) or by time."""

    name: str
    pattern: Pattern
    senders: int
    receivers: int = 0
    """Peers of their own that only receive; 0 when the senders write to each other."""
    window: int = 1
    """How many sends one sender has unanswered at a time."""
    offered: float = 0.0
    """Sends a second over all senders, at fixed instants, whatever is unanswered; 0: by window."""
    messages: int = 0
    seconds: float = 0.0
    body_bytes: int = 256
    """Size of the body as it stands on the wire, quotes included."""
    acks_after: bool = False
    """Acks wait until everything was delivered, so that deliveries are measured alone."""
    capacity: int = 1024
    """Deliveries that a receiver holds unacknowledged: enough that none has to queue for it."""

    @property
    def copies(self) -> int:
        """How many deliveries one message makes."""
        return self.receivers if self.pattern == "fanout" else 1

    @property
    def peers(self) -> int:
        """How many connections the case wants."""
        return self.senders + self.receivers


class Job(Struct, frozen=True, kw_only=True):
    """What the generator is told on its standard input before it starts."""

    case: Case
    driver: str
    url: str
    names: list[str]
    tokens: list[str]
    patience_seconds: float


class Latency(Struct, frozen=True):
    """Milliseconds of one stretch of the way, over one run."""

    p50: float
    p99: float
    max: float


class Outcome(Struct, frozen=True, kw_only=True):
    """What the generator measured. With `faults` there is nothing else to believe in it."""

    faults: list[str]
    sent: int = 0
    seconds: float = 0.0
    delivered_seconds: float = 0.0
    """From the first send to the last delivery."""
    reply: Latency | None = None
    delivery: Latency | None = None
    ack: Latency | None = None
    lateness: Latency | None = None
    """Open loop only: how long after its instant the generator came to hand over a send."""
    cpu_seconds: float = 0.0
    rss_bytes: int = 0


class Note(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the generator's standard output; exactly one of these is set."""

    ready: bool = False
    settled: int | None = None
    done: bool = False
    """All is settled: what the target does from here on is no part of the run."""
    outcome: Outcome | None = None
