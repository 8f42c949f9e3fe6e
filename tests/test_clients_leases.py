"""What keeps leases alive, by itself: when each is renewed, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from clients.leases import Leases

LEASE_MS = 30_000


class Loop:
    """A loop's clock and its timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        timer = (self.now + seconds, function)
        self.timers.append(timer)
        return Timer(self, timer)

    def go_on(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and min(self.timers)[0] <= end:
            timer = min(self.timers)
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = end


class Timer:
    def __init__(self, loop: Loop, timer: tuple[float, Callable[[], None]]) -> None:
        self.loop = loop
        self.timer = timer

    def cancel(self) -> None:
        if self.timer in self.loop.timers:
            self.loop.timers.remove(self.timer)


class Thing:
    """Something that is held and writes down when it was renewed."""

    def __init__(self, loop: Loop, leases: Leases | None = None) -> None:
        self.loop = loop
        self.leases = leases
        self.renewed: list[float] = []

    def renew(self) -> None:
        self.renewed.append(self.loop.now)
        if self.leases is not None:
            self.leases.hold(self, LEASE_MS)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def test_a_lease_is_renewed_before_half_of_it_is_over_again_and_again(loop: Loop) -> None:
    leases = Leases()
    thing = Thing(loop, leases)
    leases.hold(thing, LEASE_MS)
    loop.go_on(100)
    at = [100.0, *thing.renewed]
    gaps = [later - before for before, later in itertools.pairwise(at)]
    assert len(gaps) > 5
    assert all(9.0 <= gap <= 15.0 for gap in gaps), gaps


@pytest.mark.parametrize("late", [0.0, 1.4, 2.9])
def test_what_is_held_between_two_looks_is_renewed_in_time_too(loop: Loop, late: float) -> None:
    leases = Leases()
    leases.hold(Thing(loop), LEASE_MS)
    loop.go_on(late)
    thing = Thing(loop)
    leases.hold(thing, LEASE_MS)
    loop.go_on(15.0)
    assert len(thing.renewed) == 1


def test_renewals_of_about_the_same_time_leave_together(loop: Loop) -> None:
    leases = Leases()
    things = [Thing(loop) for _ in range(10)]
    for thing in things:
        leases.hold(thing, LEASE_MS)
        loop.go_on(0.25)
    loop.go_on(20)
    assert len({moment for thing in things for moment in thing.renewed}) <= 2


def test_what_was_let_go_is_not_renewed_and_not_kept_alive(loop: Loop) -> None:
    leases = Leases()
    thing = Thing(loop)
    leases.hold(thing, LEASE_MS)
    left = weakref.ref(thing)
    leases.let_go(thing)
    leases.let_go(thing)
    renewed = thing.renewed
    del thing
    assert left() is None
    loop.go_on(100)
    assert renewed == []


def test_one_that_lets_another_go_spares_it(loop: Loop) -> None:
    leases = Leases()
    other = Thing(loop)

    class Jealous(Thing):
        def renew(self) -> None:
            leases.let_go(other)

    leases.hold(Jealous(loop), LEASE_MS)
    leases.hold(other, LEASE_MS)
    loop.go_on(100)
    assert other.renewed == []


def test_held_anew_it_counts_from_then(loop: Loop) -> None:
    leases = Leases()
    thing = Thing(loop)
    leases.hold(thing, LEASE_MS)
    loop.go_on(8)
    leases.hold(thing, LEASE_MS)
    assert len(leases) == 1
    loop.go_on(8)
    assert thing.renewed == []
    loop.go_on(7)
    assert len(thing.renewed) == 1


def test_a_short_lease_among_long_ones_is_renewed_in_time(loop: Loop) -> None:
    leases = Leases()
    slow, quick = Thing(loop), Thing(loop)
    leases.hold(slow, 3_600_000)
    loop.go_on(1_000)
    leases.hold(quick, 1_000)
    loop.go_on(0.5)
    assert len(quick.renewed) == 1
    assert slow.renewed == []


def test_nothing_ticks_while_nothing_is_held(loop: Loop) -> None:
    leases = Leases()
    thing = Thing(loop)
    leases.hold(thing, LEASE_MS)
    assert len(loop.timers) == 1
    leases.let_go(thing)
    loop.go_on(3)
    assert loop.timers == []
    leases.hold(thing, LEASE_MS)
    assert len(loop.timers) == 1
    leases.close()
    assert (len(leases), loop.timers) == (0, [])
