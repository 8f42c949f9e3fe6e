"""What is measured of a batch."""

from __future__ import annotations

from typing import Any

from broker.core.measures import Measures


class Connection:
    """As much of a conversation as is measured."""

    def __init__(self, *arrivals: tuple[int, float]) -> None:
        self.arrivals = list(arrivals)


def test_each_part_waited_since_its_oldest() -> None:
    one, other = Connection((2, 1.0), (5, 1.5)), Connection((1, 1.9))
    parts: list[Any] = [(one, [0, 0, 0]), (other, [0])]
    measures = Measures()
    measures.batch(parts, 2.0)
    assert measures.requests == 4
    assert round(measures.changes.sum, 6) == 3.1
    assert sum(measures.changes.counts) == 4
    assert one.arrivals == [(4, 1.5)]
    assert (measures.sizes.sum, sum(measures.sizes.counts)) == (4, 1)


def test_a_batch_of_the_brokers_own_work_has_no_size() -> None:
    measures = Measures()
    measures.batch([], 5.0)
    assert sum(measures.sizes.counts) == 0
