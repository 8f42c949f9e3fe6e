"""The queue of a mailbox: its counts, and the window on its head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from broker.core.queue import KEPT_BODY, WINDOW, Letter, Parcel, Queue

Key = tuple[int, int]


def parcel(seq: int, priority: int, body: bytes | None = b"1") -> Parcel:
    letter = Letter(seq, "ann", "bob", "note", priority, body, None, None, 0, 5, True)
    return Parcel(seq, cast("Any", None), letter, 10**15)


@dataclass
class Desk:
    """A queue and, beside it, all that is in it."""

    queue: Queue = field(default_factory=Queue)
    ready: dict[int, Parcel] = field(default_factory=dict)

    def add(self, one: Parcel) -> None:
        self.ready[one.seq] = one
        self.queue.count(one.letter.priority, 1)
        self.queue.keep(one)

    def take(self, seq: int) -> None:
        one = self.ready.pop(seq)
        self.queue.count(one.letter.priority, -1)
        self.queue.drop(seq)

    def back(self, one: Parcel) -> None:
        """Take an `add` back, as the journal does."""
        del self.ready[one.seq]
        self.queue.recount(one.letter.priority, -1)

    def order(self) -> list[Key]:
        return sorted((-one.letter.priority, seq) for seq, one in self.ready.items())

    def window(self) -> list[Key]:
        return [(priority, seq) for priority, seq, _ in self.queue.window]

    def refill(self) -> None:
        """What the mail area does when the window is empty."""
        keys = self.order()[:WINDOW]
        self.queue.window.extend((*key, self.ready[key[1]]) for key in keys)

    def look_over(self) -> None:
        order, window = self.order(), self.window()
        assert window == order[: len(window)]
        assert len(window) <= 2 * WINDOW
        assert self.queue.ready == len(order)
        assert sum(self.queue.counts.values()) == len(order)
        assert all(self.queue.counts.values())
        for priority in (0, 10, 50, 100, 255):
            ahead = sum(-other >= priority for other, _ in order)
            assert self.queue.ahead(priority) == ahead


STEP = st.tuples(
    st.sampled_from(("add", "add", "add", "again", "big", "take", "first", "back", "refill")),
    st.sampled_from((0, 10, 50, 50, 100, 255)),
    st.integers(0, 10_000),
)


@given(st.integers(0, 3 * WINDOW), st.lists(STEP, max_size=120))
def test_the_window_is_a_prefix_of_the_order(
    before: int, steps: list[tuple[str, int, int]]
) -> None:
    desk = Desk()
    taken: list[Parcel] = []
    seq = 1_000
    for seq in range(1_000, 1_000 + before):
        desk.add(parcel(seq, 50))
    for step, priority, chosen in steps:
        seq += 1
        if step == "add":
            desk.add(parcel(seq, priority))
        elif step == "big":
            desk.add(parcel(seq, priority, None if chosen % 2 else b"x" * (KEPT_BODY + 1)))
        elif step == "again" and taken:
            desk.add(taken.pop(chosen % len(taken)))
        elif step == "back":
            one = parcel(seq, priority)
            desk.add(one)
            desk.back(one)
        elif step == "refill" and not desk.queue.window:
            desk.refill()
        elif step in ("take", "first") and desk.ready:
            order = desk.order()
            gone = order[chosen % len(order) if step == "take" else 0][1]
            taken.append(desk.ready[gone])
            desk.take(gone)
        desk.look_over()


def test_the_window_keeps_what_comes_while_it_is_the_whole_queue() -> None:
    desk = Desk()
    for seq in range(WINDOW + 10):
        desk.add(parcel(seq, 50))
    assert [seq for _, seq in desk.window()] == list(range(WINDOW))


def test_what_is_urgent_comes_in_before_what_waits() -> None:
    desk = Desk()
    for seq in range(3):
        desk.add(parcel(seq, 50))
    desk.add(parcel(9, 255))
    assert [seq for _, seq in desk.window()] == [9, 0, 1, 2]


def test_the_window_does_not_grow_without_bound() -> None:
    desk = Desk()
    for seq in range(WINDOW):
        desk.add(parcel(seq, 0))
    for seq in range(WINDOW, 4 * WINDOW):
        desk.add(parcel(seq, 1))
        assert len(desk.queue.window) <= 2 * WINDOW
    desk.look_over()


def test_a_big_body_ends_the_window_in_its_place() -> None:
    desk = Desk()
    for seq in range(4):
        desk.add(parcel(seq, 50))
    desk.add(parcel(9, 100, b"x" * (KEPT_BODY + 1)))
    assert desk.window() == []
    desk.look_over()


def test_taking_back_forgets_the_window() -> None:
    desk = Desk()
    first, second = parcel(1, 50), parcel(2, 50)
    desk.add(first)
    desk.add(second)
    desk.back(second)
    assert desk.window() == []
    assert (desk.queue.ready, desk.queue.counts) == (1, {50: 1})


def test_a_delivery_that_is_not_in_the_window_is_dropped_without_a_trace() -> None:
    desk = Desk()
    desk.add(parcel(1, 50))
    desk.queue.drop(77)
    assert [seq for _, seq in desk.window()] == [1]
