"""Lanes: many rounds of a few operations, side by side, each step timed.

Owns: the lanes, the clock and the figures of workloads whose unit is a round and not a message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench import command
from bench.procedure import Desk, Figure, measures, run
from bench.show import show

Round = Callable[[int, int, Callable[[str], None]], Awaitable[None]]
"""Lane, number of the round, and what is called after each step with its name."""


def main(words: list[str], workload: str, about: str, members: int, **fields: object) -> int:
    """The command of a workload that runs in lanes."""
    parser = command.options(workload, about)
    parser.set_defaults(targets=["broker"])
    parser.add_argument("--lanes", type=int, default=100, help="rounds that run side by side")
    parser.add_argument("--seconds", type=int, default=3)
    arguments = parser.parse_args(words)
    if arguments.lanes < 1 or arguments.seconds < 1:
        parser.error("there must be a lane, for a second at least")
    where = command.place(arguments)
    empty = command.report(workload, where, ["broker"])
    figures: list[Figure] = []
    options: dict[str, int | str] = {
        "lanes": arguments.lanes,
        "seconds": arguments.seconds,
        "body": arguments.body,
    }
    with command.progress(arguments.runs) as watch:
        for _ in range(arguments.runs):
            figures += run(workload, where, watch, members=members, options=options, fields=fields)
    show(command.filled(empty, measures=measures("broker", figures)), as_json=arguments.json)
    return 0


async def rounds(desk: Desk, what: str, steps: Round) -> list[Figure]:
    """Run the lanes until the time is over; how many rounds a second, and each step's time."""
    lanes = desk.number("lanes")
    cpu, started = desk.cpu(), time.perf_counter()
    end = started + desk.number("seconds")
    times: dict[str, list[float]] = {}
    done = 0

    async def lane(number: int) -> None:
        nonlocal done
        count = 0
        while (before := time.perf_counter()) < end:

            def step(name: str) -> None:
                nonlocal before
                now = time.perf_counter()
                times.setdefault(name, []).append(now - before)
                before = now

            await steps(number, count, step)
            count += 1
            done += 1

    await asyncio.gather(*map(lane, range(lanes)))
    seconds, used = time.perf_counter() - started, desk.cpu() - cpu
    case = f"{lanes} at a time"
    figures = [
        Figure(
            case=case,
            what=f"{what} a second",
            unit="1/s",
            value=done / seconds,
            digits=0,
            better="more",
        ),
        Figure(case=case, what="broker CPU of one", unit="us", value=used / done * 1e6),
    ]
    for name, several in times.items():
        several.sort()
        for share, words in ((0.5, "median"), (0.99, "p99")):
            value = several[int((len(several) - 1) * share)] * 1e3
            figures.append(
                Figure(case=case, what=f"{name}, {words}", unit="ms", value=value, digits=2)
            )
    return figures
