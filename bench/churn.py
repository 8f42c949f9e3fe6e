"""Churn: connections that are lost and come back by themselves, over and over.

Owns: the round of one peer: connect, hello with the resume value, drop without a word. Each must be
the same presence as before.
"""

from __future__ import annotations

import asyncio
import time

from bench import command
from bench.asker import Asker, content
from bench.procedure import Desk, Figure, Finding, measures, run
from bench.show import show
from bench.traffic import RunFailed

PEERS = 50


def main(words: list[str]) -> int:
    """`python -m bench churn`"""
    parser = command.options("churn", "connections that are lost and resumed")
    parser.set_defaults(targets=["broker"])
    parser.add_argument("--peers", type=int, default=PEERS)
    parser.add_argument("--seconds", type=int, default=3)
    arguments = parser.parse_args(words)
    if arguments.peers < 1 or arguments.seconds < 1:
        parser.error("there must be a peer, for a second at least")
    where = command.place(arguments)
    empty = command.report("churn", where, ["broker"])
    figures: list[Figure] = []
    options: dict[str, int | str] = {"seconds": arguments.seconds}
    with command.progress(arguments.runs) as watch:
        for _ in range(arguments.runs):
            figures += run("churn", where, watch, members=arguments.peers, options=options)
    show(command.filled(empty, measures=measures("broker", figures)), as_json=arguments.json)
    return 0


async def work(desk: Desk) -> Finding:
    """Every peer comes and goes until the time is over."""
    cpu, started = desk.cpu(), time.perf_counter()
    end = started + desk.number("seconds")
    times: list[float] = []

    async def come_and_go(index: int) -> None:
        resume: object = None
        while time.perf_counter() < end:
            begun = time.perf_counter()
            asker = Asker(desk.url, desk.names[index], desk.fail)
            await asker.connect(desk.url)
            welcome = content(await asker.hello(desk.tokens[index], resume=resume))
            times.append(time.perf_counter() - begun)
            if resume is not None and not welcome["resumed"]:
                raise RunFailed(f"{desk.names[index]} came back and was taken for somebody new")
            resume = welcome["resume"]
            asker.leave()

    await asyncio.gather(*map(come_and_go, range(len(desk.names))))
    seconds, used = time.perf_counter() - started, desk.cpu() - cpu
    times.sort()
    case = f"{len(desk.names)} peers"

    def figure(what: str, unit: str, value: float, digits: int, better: str = "less") -> Figure:
        return Figure(case=case, what=what, unit=unit, value=value, digits=digits, better=better)

    return Finding(
        figures=[
            figure("connects with resume", "1/s", len(times) / seconds, 0, "more"),
            figure("connect to welcome, median", "ms", times[len(times) // 2] * 1e3, 2),
            figure("connect to welcome, p99", "ms", times[int(len(times) * 0.99)] * 1e3, 2),
            figure("broker CPU of one", "us", used / len(times) * 1e6, 0),
        ]
    )
