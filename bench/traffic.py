"""The book of one run: what was sent, stored, delivered and acked, and when.

Owns: who writes to whom, the window's supply of messages, the latencies and the exactly-once check.
Must not know how a message travels; a driver reports each step, with the time when it saw it.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Callable
from time import perf_counter_ns

from bench.case import Case, Latency

NUMBER_DIGITS = 9
"""Every body starts with the message's number, so that what arrives can be told apart."""
NEVER = 2**62
PAGES = 4_096
"""Copies for which the book is made longer at once: for each by itself would be felt."""
SEED = 7450
"""Runs that are compared write to the same peers in the same order."""

now_ns = perf_counter_ns


class Traffic:
    """One run's supply of messages and its record. Times are nanoseconds of `now_ns`."""

    def __init__(self, case: Case) -> None:
        if not case.messages and not case.seconds:
            raise ValueError(f"{case.name}: a run ends by count or by time")
        self.case = case
        self.taken = 0
        self.stored_count = 0
        self.settled_count = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered_draws = not case.offered and case.pattern != "fanout"
        """Whether the answer to a send draws the sender's next message."""
        self.complete: Callable[[int, int], None] | None = None
        """Fan-out: told the sender when a message is through to all, which draws the next one."""
        self.delivered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more is to be delivered."""
        self._copies = case.copies
        self._left = [case.messages or NEVER] * case.senders
        self._open = case.messages * case.senders or NEVER
        self._stop_at = NEVER
        self._padding = b"x" * max(0, case.body_bytes - NUMBER_DIGITS - 2)
        self._random = random.Random(SEED)
        self._started_at = 0
        self._delivered_at = 0
        self._settled_at = 0
        self._sender = array("i")
        self._missing = array("i")
        self._sent_at = array("q")
        self._arrived_at = array("q")
        self._stored = bytearray()
        self._arrived = bytearray()
        self._settled = bytearray()
        self._replies = array("q")
        self._deliveries = array("q")
        self._acks = array("q")

    def start(self) -> None:
        """The clock runs from here."""
        self._started_at = now_ns()
        if self.case.seconds and not self.case.offered:
            self._stop_at = self._started_at + int(self.case.seconds * 1e9)

    def take(self, sender: int, now: int) -> int:
        """The number of this sender's next message, or -1 when there is none."""
        if now >= self._stop_at:
            self._open = 0
            self._check()
            return -1
        if not self._left[sender]:
            return -1
        self._left[sender] -= 1
        self._open -= 1
        number = self.taken
        if number == len(self._sent_at):
            self._lengthen()
        self.taken = number + 1
        self._sender[number] = sender
        self._sent_at[number] = now
        return number

    def _lengthen(self) -> None:
        messages = max(PAGES // self._copies, 1)
        copies = messages * self._copies
        self._missing.extend([self._copies] * messages)
        for column, count in (
            (self._sender, messages),
            (self._sent_at, messages),
            (self._arrived_at, copies),
        ):
            column.frombytes(bytes(count * column.itemsize))
        self._stored += bytes(messages)
        self._arrived += bytes(copies)
        self._settled += bytes(copies)

    def stop(self) -> None:
        """Nothing more is sent; the run ends when all that was sent is through."""
        self._open = 0
        self._stop_at = 0
        self._check()

    def target(self, sender: int) -> int:
        """The peer that this sender's next message goes to; one past the last is all receivers."""
        if self.case.pattern == "pairs":
            return self.case.senders + sender
        if self.case.pattern == "fanout":
            return self.case.peers
        other = int(self._random.random() * (self.case.senders - 1))
        return other if other < sender else other + 1

    def body(self, number: int) -> bytes:
        """A JSON string of the wanted size that starts with the number."""
        return b'"%0*d%b"' % (NUMBER_DIGITS, number, self._padding)

    @staticmethod
    def number(body: bytes | memoryview) -> int:
        """The number that a body starts with."""
        return int(bytes(body[1 : 1 + NUMBER_DIGITS]))

    def stored(self, number: int, now: int) -> int:
        """The durable answer to a send has come; returns the sender, whose turn it is."""
        if number >= self.taken:
            self._strange(number)
        self._stored[number] += 1
        self.stored_count += 1
        self._replies.append(now - self._sent_at[number])
        if self._open <= 0:
            self._check()
        return self._sender[number]

    def arrived(self, number: int, now: int, peer: int = 0) -> int:
        """A delivery has come to a peer; the number of this copy, for its ack."""
        if number >= self.taken:
            self._strange(number)
        copy = number
        if self._copies > 1:
            copy = number * self._copies + peer - self.case.senders
        self._arrived[copy] += 1
        self._arrived_at[copy] = now
        self._delivered_at = now
        self._deliveries.append(now - self._sent_at[number])
        if self.case.acks_after:
            self._through(number, now)
            self._check()
        return copy

    def settled(self, copy: int, now: int) -> None:
        """The durable answer to an ack has come."""
        self._settled[copy] += 1
        self.settled_count += 1
        self._settled_at = now
        self._acks.append(now - self._arrived_at[copy])
        if self._copies > 1 and not self.case.acks_after:
            self._through(copy // self._copies, now)
        if self._open <= 0:
            self._check()

    def _strange(self, number: int) -> None:
        raise RunFailed(f"message {number} came, which nobody has sent yet")

    def _through(self, number: int, now: int) -> None:
        """One more copy is where it should be; is it the last?"""
        self._missing[number] -= 1
        if not self._missing[number] and self.complete is not None:
            self.complete(self._sender[number], now)

    def _check(self) -> None:
        """Is everything through?"""
        if (
            self._open <= 0
            and self.stored_count >= self.taken
            and self.settled_count >= self.deliveries
            and not self.finished.done()
        ):
            self.finished.set_result(None)
        if (
            self.case.acks_after
            and self._open <= 0
            and len(self._deliveries) >= self.deliveries
            and not self.delivered.done()
        ):
            self.delivered.set_result(None)

    def fail(self, fault: str) -> None:
        """The driver cannot go on; the run has no figures."""
        if not self.finished.done():
            self.finished.set_exception(RunFailed(fault))

    def faults(self) -> list[str]:
        """Everything that did not happen exactly once, in words; empty when all is well."""
        found = [] if self.taken else ["nothing was sent"]
        for step, counts, expected in (
            ("answered", self._stored, self.taken),
            ("delivered", self._arrived, self.deliveries),
            ("acked", self._settled, self.deliveries),
        ):
            lost = counts.count(0, 0, expected)
            repeated = expected - lost - counts.count(1, 0, expected)
            if lost:
                found.append(f"{lost} of {expected} messages were never {step}")
            if repeated:
                found.append(f"{repeated} of {expected} messages were {step} more than once")
        return found

    @property
    def deliveries(self) -> int:
        """How many deliveries all that was sent makes."""
        return self.taken * self._copies

    @property
    def seconds(self) -> float:
        """From the first send to the last durable ack."""
        return (self._settled_at - self._started_at) / 1e9

    @property
    def delivered_seconds(self) -> float:
        """From the first send to the last delivery."""
        return (self._delivered_at - self._started_at) / 1e9

    def latencies(self) -> tuple[Latency, Latency, Latency]:
        """Send to durable reply, send to delivery, delivery to durable ack."""
        return (
            summarize(self._replies),
            summarize(self._deliveries),
            summarize(self._acks),
        )


class RunFailed(Exception):  # noqa: N818 - named for what happened, as everywhere here
    """A run that has no figures, and why."""


def summarize(nanoseconds: array[int]) -> Latency:
    """Median, 99th percentile and maximum, in milliseconds."""
    ordered = sorted(nanoseconds)
    last = len(ordered) - 1
    return Latency(
        p50=ordered[last // 2] / 1e6,
        p99=ordered[min(last, int(last * 0.99))] / 1e6,
        max=ordered[last] / 1e6,
    )
