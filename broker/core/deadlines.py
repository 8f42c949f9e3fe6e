"""What becomes due when: a heap of instants that is looked at only when its first one has come.

Owns: the order of instants. An entry is a reminder, no fact: whoever is reminded looks whether
anything is really due, so entries of what has been settled since may stay until their time.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from broker.core.turn import FAR

if TYPE_CHECKING:
    from broker.core.turn import Turn

Key = TypeVar("Key", int, str)

CHUNK: Final = 500
"""Reminders in one sweep: ten thousand leases that end at once stop nobody for long."""


class Deadlines(Generic[Key]):
    """Reminders by their instant."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def remind(self, turn: Turn, when: int, key: Key) -> None:
        """Remind of this at that instant. Nothing needs to be taken back if the batch fails."""
        heappush(self._heap, (when, key))
        turn.wake_at(when)

    def due(self, turn: Turn) -> Iterator[Key]:
        """What is due now, a chunk of it; then ask to be woken for what is left.

        The same key may come twice. If the batch fails, its reminders are there again.
        """
        heap = self._heap
        for _ in range(CHUNK):
            if not heap or heap[0][0] > turn.now:
                break
            entry = heappop(heap)
            turn.undo(heappush, heap, entry)
            yield entry[1]
        turn.wake_at(heap[0][0] if heap else FAR)
