"""Idle: many connections with their presences and nothing to do. Memory of each, and CPU.

Owns: the number, the wait, and what is counted: the broker's memory before the first and after the
last connection, when members and mailboxes are made already.
"""

from __future__ import annotations

import asyncio

from bench import command
from bench.machine import resident_bytes
from bench.procedure import Desk, Figure, Finding, measures, run
from bench.report import Measure
from bench.show import show

CONNECTIONS = 5_000
SECONDS = 10
SETTLE_MS = 2_000
KIB = 1_024


def main(words: list[str]) -> int:
    """`python -m bench idle`"""
    parser = command.options("idle", "thousands of connections that do nothing")
    parser.set_defaults(targets=["broker"], runs=1)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long they are idle")
    arguments = parser.parse_args(words)
    if arguments.connections < 1 or arguments.seconds < 1:
        parser.error("there must be a connection, for a second at least")
    command.allow_files(arguments.connections)
    arguments.settings.append(f"limits.connections={max(arguments.connections + 100, 10_000)}")
    where = command.place(arguments)
    empty = command.report("idle", where, ["broker"])
    found: list[Measure] = []
    with command.progress(2 * arguments.runs) as watch:
        for role in ("service", "session"):
            options: dict[str, int | str] = {
                "role": role,
                "connections": arguments.connections,
                "seconds": arguments.seconds,
                "settle_ms": SETTLE_MS,
            }
            figures: list[Figure] = []
            for _ in range(arguments.runs):
                figures += run("idle", where, watch, members=arguments.connections, options=options)
            found += measures("broker", figures)
    show(command.filled(empty, measures=found), as_json=arguments.json)
    return 0


async def work(desk: Desk) -> Finding:
    """Connect everybody, wait, let everybody leave."""
    role, count = str(desk.options["role"]), desk.number("connections")
    settle = desk.number("settle_ms") / 1_000
    case = f"{count:,} of role {role}"
    before, started = resident_bytes(desk.broker), asyncio.get_running_loop().time()
    cpu = desk.cpu()
    hello: dict[str, object] = {"role": role, "capacity": 32}
    if role == "session":
        hello["session"] = "s1"
    step = 500
    for start in range(0, count, step):
        await desk.connect_all(range(start, min(start + step, count)), **hello)
        desk.tell(f"connecting ({role})", start + step)
    elapsed = asyncio.get_running_loop().time() - started
    connecting = desk.cpu() - cpu
    await asyncio.sleep(settle)
    there = resident_bytes(desk.broker)
    cpu = desk.cpu()
    await asyncio.sleep(desk.number("seconds"))
    share = (desk.cpu() - cpu) / desk.number("seconds")
    await asyncio.gather(*(asker.bye() for asker in desk.askers))
    await asyncio.sleep(settle)
    after = resident_bytes(desk.broker)

    def figure(what: str, unit: str, value: float, digits: int = 1, better: str = "less") -> Figure:
        return Figure(case=case, what=what, unit=unit, value=value, digits=digits, better=better)

    return Finding(
        figures=[
            figure(
                "memory of a connection with its presence", "KiB", (there - before) / count / KIB
            ),
            figure("kept after all have left", "KiB", (after - before) / count / KIB),
            figure("broker CPU while idle", "% of a core", share * 100, 2),
            figure("connects a second", "1/s", count / elapsed, 0, "more"),
            figure("broker CPU of a connect", "us", connecting / count * 1e6, 0),
        ]
    )
