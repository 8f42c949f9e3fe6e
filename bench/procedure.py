"""Workloads that are a procedure of their own: a broker, and one process that does the steps.

Owns: both ends of that process, `run` in the bench and `main` in the child (`python -m
bench.procedure`), and the check afterwards. Must not know the steps: a workload gives an async
function `work(desk)` that returns its figures.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from bench import tables
from bench.asker import Asker
from bench.machine import cpu_seconds_exact
from bench.report import Measure
from bench.server import Place, line_of, spawn, started
from bench.targets import TARGETS
from bench.traffic import RunFailed

CONNECT_AT_ONCE = 50
"""Handshakes under way together: below the broker's cap on connections without a hello."""

SILENT_SECONDS = 180.0
"""Longer than any step of a procedure."""
QUIET_SECONDS = 20.0
LOOK_SECONDS = 0.05


class Assignment(Struct, frozen=True, kw_only=True):
    """What the child is told on its standard input."""

    workload: str
    url: str
    broker: int
    names: list[str]
    tokens: list[str]
    options: dict[str, int | str]


class Figure(Struct, frozen=True, kw_only=True):
    """One measured value; several of one name are several measurements."""

    case: str
    what: str
    unit: str
    value: float
    digits: int = 1
    better: str = "less"


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the child's standard output: how far it is, or the end."""

    step: str = ""
    done: int = 0
    fault: str = ""
    figures: list[Figure] = []
    acked: int | None = None
    """How many acked deliveries the database must have in the end."""


class Desk:
    """What a procedure works with."""

    def __init__(self, assignment: Assignment) -> None:
        self.url = assignment.url
        self.names = assignment.names
        self.tokens = assignment.tokens
        self.options = assignment.options
        self.broker = assignment.broker
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.askers: list[Asker] = []

    def number(self, option: str) -> int:
        """An option that is a number."""
        return int(self.options[option])

    def cpu(self) -> float:
        """CPU seconds of the broker so far."""
        return cpu_seconds_exact(self.broker)

    def tell(self, step: str, done: int) -> None:
        """Say how far it is."""
        _say(Finding(step=step, done=done))

    def fail(self, fault: str) -> None:
        """The run has no figures."""
        if not self.failed.done():
            self.failed.set_exception(RunFailed(fault))

    async def until_acked(self, askers: list[Asker], count: int) -> None:
        """Until mails that came by themselves are acked, so many in all."""
        for _ in range(int(QUIET_SECONDS / LOOK_SECONDS)):
            if sum(asker.acked for asker in askers) >= count:
                return
            await asyncio.sleep(LOOK_SECONDS)
        acked = sum(asker.acked for asker in askers)
        raise RunFailed(f"{acked} mails of {count} came within {QUIET_SECONDS:g} s and were acked")

    async def connect(self, index: int, **hello: object) -> Asker:
        """One more connection, greeted."""
        asker = Asker(self.url, self.names[index], self.fail)
        await asker.connect(self.url)
        await asker.hello(self.tokens[index], **hello)
        self.askers.append(asker)
        return asker

    async def connect_all(self, indices: range, **hello: object) -> list[Asker]:
        """Many connections, some at a time, in order."""
        room = asyncio.Semaphore(CONNECT_AT_ONCE)

        async def one(index: int) -> Asker:
            async with room:
                return await self.connect(index, **hello)

        return list(await asyncio.gather(*map(one, indices)))


def run(
    workload: str,
    place: Place,
    watch: Callable[[str, int], None],
    *,
    members: int,
    options: dict[str, int | str],
    fields: dict[str, object] | None = None,
) -> list[Figure]:
    """One broker, one procedure; its figures. `fields` go into each `member.add`."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place.data) as directory:
        data = Path(directory) / "target"
        data.mkdir(mode=0o700)
        with started(TARGETS["broker"], data, place) as server:
            names = [f"p{number:04d}" for number in range(members)]
            assignment = Assignment(
                workload=workload,
                url=server.url,
                broker=server.pid,
                names=names,
                tokens=server.tokens(names, **(fields or {})),
                options=options,
            )
            finding = _follow(assignment, place, Path(directory), watch)
            server.stop()
        if finding.acked is not None:
            stored = tables.acked_rows(data)
            if stored != finding.acked:
                raise RunFailed(f"the database has {stored} acked deliveries of {finding.acked}")
    return finding.figures


def measures(target: str, figures: list[Figure]) -> list[Measure]:
    """The figures of several runs, those of one name together, in order of first appearance."""
    found: dict[tuple[str, str], Measure] = {}
    for one in figures:
        key = (one.case, one.what)
        if key not in found:
            found[key] = Measure(
                case=one.case,
                target=target,
                what=one.what,
                unit=one.unit,
                values=[],
                digits=one.digits,
                better=one.better,
            )
        found[key].values.append(one.value)
    return list(found.values())


def _follow(
    assignment: Assignment, place: Place, logs: Path, watch: Callable[[str, int], None]
) -> Finding:
    child = spawn([sys.executable, "-m", "bench.procedure"], place.client_core, logs, place)
    try:
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(assignment).decode() + "\n")
        child.stdin.flush()
        while True:
            line = line_of(child, logs, SILENT_SECONDS)
            finding = msgspec.json.decode(line, type=Finding)
            if finding.fault:
                raise RunFailed(finding.fault)
            if not finding.step:
                return finding
            watch(finding.step, finding.done)
    finally:
        child.kill()
        child.communicate()


def _say(finding: Finding) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(finding) + b"\n")
    sys.stdout.buffer.flush()


async def _work(assignment: Assignment) -> Finding:
    desk = Desk(assignment)
    work = asyncio.ensure_future(importlib.import_module(f"bench.{assignment.workload}").work(desk))
    await asyncio.wait([work, desk.failed], return_when=asyncio.FIRST_COMPLETED)
    try:
        if desk.failed.done():
            desk.failed.result()
        finding: Finding = work.result()
    except RunFailed as fault:
        return Finding(fault=str(fault))
    finally:
        work.cancel()
        for asker in desk.askers:
            asker.leave()
    return finding


def main() -> int:
    """Read the assignment, work, report."""
    assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=Assignment)
    gc.disable()
    finding = uvloop.run(_work(assignment))
    _say(finding)
    return 1 if finding.fault else 0


if __name__ == "__main__":
    sys.exit(main())
