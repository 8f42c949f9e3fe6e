"""What waits in one mailbox: counts of all of it, and the first few kept at hand.

Owns: the order (highest priority, then oldest) and the window on its head. The window is a cache of
the rows on disk and may be forgotten at any time; it knows no SQL, who refills it does.
"""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from broker.core.house import Mailbox

WINDOW: Final = 64
KEPT_BODY: Final = 16 * 1_024
"""Bodies over this are read again when their turn comes: a window holds a megabyte at most."""


class Letter(Struct, eq=False, gc=False):
    """A message: what all its deliveries share."""

    # A Struct, like Parcel and Claim, because it is made without a Python call: one is born with
    # every message.
    id: int
    sender: str
    target: str
    kind: str
    priority: int
    body: bytes | bytearray | None
    """None when it is too big to be kept, or not read yet: it is read when it is handed over."""
    meta: bytes | None
    reply_to: int | None
    sent_at: int
    max_attempts: int
    plain: bool
    """Whether nobody but the two wants to know how its deliveries end."""


class Parcel(Struct, eq=False):
    """A delivery that is ready to be handed over."""

    seq: int
    box: Mailbox
    letter: Letter
    expires_at: int
    target: str | None = None
    """The target that reached this mailbox, where it is not all of the message's."""
    failures: int = 0
    claims: int = 0


class Queue:
    """The ready deliveries of a mailbox, counted by priority, with the first of them at hand."""

    __slots__ = ("counts", "ready", "window")

    def __init__(self) -> None:
        self.ready = 0
        self.counts: dict[int, int] = {}
        self.window: list[tuple[int, int, Parcel]] = []
        """A prefix of the queue in its order, or nothing."""

    def count(self, priority: int, change: int) -> None:
        """So many more (or fewer) of a priority are ready."""
        self.ready += change
        left = self.counts.get(priority, 0) + change
        if left:
            self.counts[priority] = left
        else:
            self.counts.pop(priority, None)

    def recount(self, priority: int, change: int) -> None:
        """Take back a `count`, and with it whatever the window may have made of it."""
        self.count(priority, change)
        self.window.clear()

    def ahead(self, priority: int) -> int:
        """How many are handed over before one of this priority that comes now."""
        if len(self.counts) <= 1:
            return self.ready if self.counts and next(iter(self.counts)) >= priority else 0
        return sum(count for other, count in self.counts.items() if other >= priority)

    def keep(self, parcel: Parcel) -> None:
        """Put a parcel that was counted already into the window, if it belongs there."""
        window = self.window
        key = (-parcel.letter.priority, parcel.seq, parcel)
        whole = len(window) + 1 == self.ready
        last = not window or key > window[-1]
        if last and (not whole or len(window) >= WINDOW):
            return
        place = bisect(window, key)
        body = parcel.letter.body
        if body is None or len(body) > KEPT_BODY:
            del window[place:]
            return
        window.insert(place, key)
        if len(window) > 2 * WINDOW:
            del window[WINDOW:]

    def drop(self, seq: int) -> None:
        """Take a delivery out of the window; it was or will be counted elsewhere."""
        for position, (_, other, _) in enumerate(self.window):
            if other == seq:
                del self.window[position]
                return
