"""Buckets, and who has waited since when."""

from __future__ import annotations

from broker.spread import SECONDS, SIZES, Spread, waited_since


def test_a_value_counts_at_the_first_bound_that_it_is_not_over() -> None:
    spread = Spread((1.0, 2.0, 4.0))
    for value in (0, 1, 1.5, 2, 3, 4, 4.1, 100):
        spread.note(value)
    assert spread.counts == [2, 2, 2, 2]
    assert spread.sum == 115.6


def test_a_value_may_count_more_than_once() -> None:
    spread = Spread((1.0,))
    spread.note(0.5, 4)
    assert (spread.counts, spread.sum) == ([4, 0], 2.0)


def test_bounds_rise() -> None:
    for bounds in (SECONDS, SIZES):
        assert list(bounds) == sorted(set(bounds))


def test_the_oldest_of_those_who_are_done_has_waited_longest() -> None:
    arrivals = [(3, 1.0), (1, 2.0), (2, 3.0)]
    assert waited_since(arrivals, 2) == 1.0
    assert arrivals == [(1, 1.0), (1, 2.0), (2, 3.0)]
    assert waited_since(arrivals, 3) == 1.0
    assert arrivals == [(1, 3.0)]
    assert waited_since(arrivals, 1) == 3.0
    assert arrivals == []
