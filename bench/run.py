"""One measured run, and rounds of them: every case on every target in turn.

Owns: the order of the runs, the meter on both processes, the check of the database afterwards.
Must not know how results are shown.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import tables
from bench.case import Case, Job, Latency, Note, Outcome
from bench.machine import cpu_seconds, resident_bytes, waited_seconds
from bench.server import Place, Server, line_of, spawn, started
from bench.targets import TARGETS
from bench.traffic import RunFailed

MICRO = 1_000_000
SILENT_SECONDS = 60.0
"""A generator says how far it is four times a second, connecting and leaving apart."""
PATIENCE_SECONDS = 10.0
"""A run in which nothing has moved for so long is given up."""

Watch = Callable[[str, int], None]
"""Told what runs and how many messages are through."""


class Sample(Struct, frozen=True, kw_only=True):
    """The figures of one run in which everything happened exactly once."""

    sent: int
    """Deliveries; each message makes one, save for a fan-out."""
    seconds: float
    rate: float
    """Messages, or the deliveries of a fan-out, a second, from the first send to the last ack; to
    the last delivery where acks were held back."""
    reply: Latency
    delivery: Latency
    ack: Latency
    server_cpu_us: float
    """Per message, as the generator's."""
    client_cpu_us: float
    server_busy: float
    """CPU time over run time: 1.0 is a full core."""
    client_busy: float
    server_waited: float
    """Share of the run time ready but without the core: what other programs took."""
    client_waited: float
    server_rss_start: int
    server_rss_peak: int
    server_rss_end: int
    client_rss: int
    lateness: Latency | None = None
    """Open loop: the generator's own delay, which is part of the latencies."""


class Series(Struct, frozen=True, kw_only=True):
    """All runs of one case on one target."""

    case: Case
    target: str
    samples: list[Sample]


def rounds(
    cases: list[Case], targets: list[str], count: int, place: Place, watch: Watch
) -> list[Series]:
    """Every case, `count` times, its targets in turn, so that what disturbs one disturbs all."""
    found = [Series(case=case, target=target, samples=[]) for case in cases for target in targets]
    for case in cases:
        several = [series for series in found if series.case is case]
        for number in range(count):
            # Every other round backwards: no target always follows the same one.
            for series in several if number % 2 == 0 else reversed(several):
                label = f"{case.name} {series.target} {number + 1}/{count}"
                watch(label, 0)
                try:
                    series.samples.append(once(case, series.target, place, partial(watch, label)))
                except RunFailed as fault:
                    raise RunFailed(f"{case.name} on {series.target}: {fault}") from fault
    return found


def once(case: Case, target: str, place: Place, watch: Callable[[int], None]) -> Sample:
    """A fresh target, a fresh generator, one run."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place.data) as directory:
        data = Path(directory) / "target"
        data.mkdir(mode=0o700)
        with started(TARGETS[target], data, place) as server:
            sample = _measure(case, server, place, Path(directory), watch)
            server.stop()
        if TARGETS[target].durable:
            stored = tables.acked_rows(data)
            if stored != sample.sent:
                raise RunFailed(f"the database has {stored} acked deliveries of {sample.sent}")
    return sample


def _measure(
    case: Case, server: Server, place: Place, logs: Path, watch: Callable[[int], None]
) -> Sample:
    names = [f"p{number:04d}" for number in range(case.peers)]
    job = Job(
        case=case,
        driver=server.target.driver,
        url=server.url,
        names=names,
        tokens=server.tokens(names),
        patience_seconds=PATIENCE_SECONDS,
    )
    generator = spawn([sys.executable, "-m", "bench.load"], place.client_core, logs, place)
    try:
        _say(generator, msgspec.json.encode(job).decode())
        opened = _note(generator, logs)
        if opened.outcome is not None:
            raise RunFailed("; ".join(opened.outcome.faults))
        rss_start = resident_bytes(server.pid)
        pids = (server.pid, generator.pid)
        waited_start = [waited_seconds(pid) for pid in pids]
        cpu_start = cpu_seconds(server.pid)
        _say(generator, "go")
        failed = _settled(generator, logs, watch)
        server_cpu = cpu_seconds(server.pid) - cpu_start
        waited = [
            waited_seconds(pid) - before for pid, before in zip(pids, waited_start, strict=True)
        ]
        outcome = failed or _outcome(generator, logs)
        return _sample(
            case,
            outcome,
            server_cpu=server_cpu,
            waited=waited,
            rss=(rss_start, resident_bytes(server.pid, peak=True), resident_bytes(server.pid)),
        )
    finally:
        generator.kill()
        generator.communicate()


def _sample(
    case: Case,
    outcome: Outcome,
    *,
    server_cpu: float,
    waited: list[float],
    rss: tuple[int, int, int],
) -> Sample:
    if outcome.faults:
        raise RunFailed("; ".join(outcome.faults))
    assert outcome.reply is not None
    assert outcome.delivery is not None
    assert outcome.ack is not None
    return Sample(
        sent=outcome.sent,
        seconds=outcome.seconds,
        rate=outcome.sent / (outcome.delivered_seconds if case.acks_after else outcome.seconds),
        reply=outcome.reply,
        delivery=outcome.delivery,
        ack=outcome.ack,
        server_cpu_us=server_cpu / outcome.sent * MICRO,
        client_cpu_us=outcome.cpu_seconds / outcome.sent * MICRO,
        server_busy=server_cpu / outcome.seconds,
        client_busy=outcome.cpu_seconds / outcome.seconds,
        server_waited=waited[0] / outcome.seconds,
        client_waited=waited[1] / outcome.seconds,
        server_rss_start=rss[0],
        server_rss_peak=rss[1],
        server_rss_end=rss[2],
        client_rss=outcome.rss_bytes,
        lateness=outcome.lateness,
    )


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise RunFailed("the generator ended before its time") from None


def _note(process: subprocess.Popen[str], logs: Path) -> Note:
    return msgspec.json.decode(line_of(process, logs, SILENT_SECONDS), type=Note)


def _settled(
    process: subprocess.Popen[str], logs: Path, watch: Callable[[int], None]
) -> Outcome | None:
    """Wait until all is settled; the outcome of a run that failed before."""
    while True:
        note = _note(process, logs)
        if note.done or note.outcome is not None:
            return note.outcome
        if note.settled is not None:
            watch(note.settled)


def _outcome(process: subprocess.Popen[str], logs: Path) -> Outcome:
    while True:
        note = _note(process, logs)
        if note.outcome is not None:
            return note.outcome
