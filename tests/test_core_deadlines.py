"""Reminders: in their order, in chunks, and there again when the batch fails."""

from __future__ import annotations

from typing import Any

from broker.core.deadlines import CHUNK, Deadlines
from broker.core.turn import FAR


class Sweep:
    """As much of a turn as reminders need."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.wake = FAR
        self.journal: list[tuple[Any, tuple[Any, ...]]] = []

    def undo(self, function: Any, *values: Any) -> None:
        self.journal.append((function, values))

    def wake_at(self, when: int) -> None:
        self.wake = min(self.wake, when)

    def back(self) -> None:
        while self.journal:
            function, values = self.journal.pop()
            function(*values)


def due(deadlines: Deadlines[int], sweep: Any) -> list[int]:
    return list(deadlines.due(sweep))


def reminded(*when: int) -> tuple[Deadlines[int], Any]:
    deadlines: Deadlines[int] = Deadlines()
    sweep: Any = Sweep(0)
    for key, instant in enumerate(when):
        deadlines.remind(sweep, instant, key)
    return deadlines, sweep


def test_a_reminder_asks_to_be_woken() -> None:
    _, sweep = reminded(70, 50, 60)
    assert sweep.wake == 50


def test_what_is_due_comes_in_order_and_once() -> None:
    deadlines, _ = reminded(30, 10, 20, 10)
    sweep: Any = Sweep(20)
    assert due(deadlines, sweep) == [1, 3, 2]
    assert sweep.wake == 30
    assert due(deadlines, Sweep(20)) == []
    last: Any = Sweep(30)
    assert due(deadlines, last) == [0]
    assert last.wake == FAR


def test_a_failed_batch_is_reminded_again() -> None:
    deadlines, _ = reminded(10, 20)
    sweep: Any = Sweep(20)
    assert due(deadlines, sweep) == [0, 1]
    sweep.back()
    assert due(deadlines, Sweep(15)) == [0]
    assert due(deadlines, Sweep(20)) == [1]


def test_many_come_in_chunks() -> None:
    deadlines, _ = reminded(*[5] * (CHUNK + 3))
    sweep: Any = Sweep(9)
    assert len(due(deadlines, sweep)) == CHUNK
    assert sweep.wake == 5
    assert len(due(deadlines, Sweep(9))) == 3
