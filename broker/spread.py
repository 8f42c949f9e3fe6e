"""How values are spread: counts in fixed buckets, which cost next to nothing to keep.

Owns: the buckets. Whoever measures something keeps one beside it; the metrics read them. Knows no
clock and nothing of what is measured.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

SECONDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""From a commit on a quick disk to what nobody waits for any more."""
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Spread:
    """Values by the first bound that they are not over, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """One for each bound, and one for what is over all of them."""
        self.sum = 0.0

    def note(self, value: float, times: int = 1) -> None:
        """Count a value that was measured so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


def waited_since(arrivals: list[tuple[int, float]], count: int) -> float:
    """When the oldest of the next so many arrived; they are taken off the list.

    The list holds how many arrived together, and when, in their order.
    """
    since = arrivals[0][1]
    while count:
        together, at = arrivals[0]
        if together > count:
            arrivals[0] = (together - count, at)
            break
        del arrivals[0]
        count -= together
    return since
