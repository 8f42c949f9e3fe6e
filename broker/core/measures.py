"""What the executor measures of its work: how large its batches are, how long requests take.

Owns: those numbers. They are noted per batch and per connection's part of it, never per request.
"""

from __future__ import annotations

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
        for conversation, requests in batch:
            count = len(requests)
            size += count
            self.changes.note(now - waited_since(conversation.arrivals, count), count)
        if size:
            self.requests += size
            self.sizes.note(size)
