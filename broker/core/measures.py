"""What the executor measures of its work: how large its batches are, how long requests take.

Owns: those numbers. They are noted per batch and per connection's part of it, never per request.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from broker.spread import SIZES, Spread, waited_since

if TYPE_CHECKING:
    from broker.core.conversation import Conversation


Part = tuple["Conversation", list[Any]]
"""Some requests of one connection, in their order."""


class Measures:
    """Plain numbers, read by the metrics."""

    __slots__ = ("changes", "reads", "requests", "sizes")

    def __init__(self) -> None:
        self.requests = 0
        self.sizes = Spread(SIZES)
        """Requests in one batch."""
        self.changes = Spread()
        """Seconds from the arrival of a request to the end of its batch."""
        self.reads = Spread()
        """Seconds of a look at the database, behind the batch."""

    def batch(self, batch: list[Part], now: float) -> None:
        """A batch is done, in which these connections had a part."""
        size = 0
        changes = self.changes
        bounds, counts = changes.bounds, changes.counts
        total = 0.0
        for conversation, requests in batch:
            count = len(requests)
            size += count
            arrivals = conversation.arrivals
            together, since = arrivals[0]
            if together == count:  # nearly always
                del arrivals[0]
            else:
                waited_since(arrivals, count)
            taken = now - since
            counts[bisect_left(bounds, taken)] += count
            total += taken * count
        changes.sum += total
        if size:
            self.requests += size
            self.sizes.note(size)
