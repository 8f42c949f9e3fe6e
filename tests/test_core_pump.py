"""The pump: one callback for all that came in a turn of the loop, one timer for what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rig import VirtualClock

from broker.core.pump import LoopPump
from broker.core.turn import FAR


class Timer:
    """A call that is due later, unless it is cancelled."""

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self.seconds = seconds
        self.function = function
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop that does what it is told when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Timer] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        self.soon.append(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, function))
        return self.timers[-1]

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for function in soon:
            function()

    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]


class Runs:
    """An executor that counts, and wants to be woken when it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.at = FAR
        self.during: Callable[[], None] = lambda: None

    def run(self) -> None:
        self.count += 1
        self.during()

    def due(self) -> int:
        return self.at


def pumped() -> tuple[LoopPump, Loop, Any, VirtualClock]:
    clock, loop = VirtualClock(), Loop()
    pump = LoopPump(clock)
    runs: Any = Runs()
    pump.executor = runs
    stand_in: Any = loop
    pump._loop = stand_in
    return pump, loop, runs, clock


async def test_one_callback_for_all_that_came() -> None:
    pump, loop, runs, _ = pumped()
    for _ in range(3):
        pump.schedule()
    assert runs.count == 0, "not before the others of this turn have come"
    loop.turn()
    assert runs.count == 1
    pump.schedule()
    loop.turn()
    assert runs.count == 2


async def test_what_comes_during_a_run_gets_the_next_one() -> None:
    pump, loop, runs, _ = pumped()
    runs.during = pump.schedule
    pump.schedule()
    loop.turn()
    assert (runs.count, len(loop.soon)) == (1, 1)
    runs.during = lambda: None
    loop.turn()
    assert (runs.count, len(loop.soon)) == (2, 0)


async def test_after_a_run_the_timer_is_for_what_is_due_then() -> None:
    pump, loop, runs, clock = pumped()
    runs.at = clock.now() + 1_500
    pump.schedule()
    loop.turn()
    (timer,) = loop.armed()
    assert timer.seconds == 1.5


async def test_the_same_instant_keeps_its_timer() -> None:
    pump, loop, runs, clock = pumped()
    runs.at = clock.now() + 1_000
    pump.arm()
    clock.time += 400
    pump.arm()
    assert len(loop.timers) == 1


async def test_another_instant_has_another_timer() -> None:
    pump, loop, runs, clock = pumped()
    for at, seconds in ((3_000, 3.0), (1_000, 1.0), (2_000, 2.0), (-500, 0)):
        runs.at = clock.now() + at
        pump.arm()
        (timer,) = loop.armed()
        assert timer.seconds == seconds
    runs.at = FAR
    pump.arm()
    assert loop.armed() == []


async def test_a_timer_runs_the_executor_and_is_armed_again() -> None:
    pump, loop, runs, clock = pumped()
    runs.at = clock.now() + 1_000
    pump.arm()
    clock.time += 1_000
    loop.armed()[0].function()
    loop.turn()
    assert runs.count == 1
    assert len(loop.timers) == 2, "still due: a sweep that failed is not forgotten"
    assert loop.timers[1].seconds == 0


async def test_after_the_end_nothing_runs() -> None:
    pump, loop, runs, clock = pumped()
    runs.at = clock.now() + 1_000
    pump.arm()
    pump.schedule()
    pump.stop()
    loop.turn()
    assert runs.count == 0
    assert loop.armed() == []


async def test_on_a_real_loop() -> None:
    clock = VirtualClock()
    pump, runs, done = LoopPump(clock), Runs(), asyncio.Event()
    executor: Any = runs
    pump.executor = executor
    runs.at = clock.now()  # due at once, and then never again

    def during() -> None:
        runs.at = FAR
        done.set()

    runs.during = during
    pump.arm()
    await asyncio.wait_for(done.wait(), 30)
    pump.stop()
    assert runs.count == 1
