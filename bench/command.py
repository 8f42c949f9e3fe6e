"""The command line that all workloads share.

Owns: the options, the progress on a terminal, the way from cases to a printed report and its exit
code. Must not know what a workload does.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from bench.case import Case
from bench.machine import describe, time_slice_ms
from bench.report import Report, over
from bench.run import Watch, rounds
from bench.server import DEFAULT_SETTINGS, Place
from bench.show import show
from bench.targets import CEILING, TARGETS, WORKLOAD_TARGETS, chosen
from bench.traffic import RunFailed

MOST_SLICE_MS = 4
"""About what the ordinary scheduler gives."""
FILES_BESIDE = 500
"""Open files of a process besides its connections."""


def options(name: str, about: str) -> argparse.ArgumentParser:
    """What every workload understands."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=about)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--runs", type=_positive, default=3, help="runs of each case and target")
    parser.add_argument(
        "--targets",
        type=chosen,
        default=list(WORKLOAD_TARGETS),
        metavar="NAME,...",
        help=f"run in turn; of {', '.join(TARGETS)} (default {','.join(WORKLOAD_TARGETS)})",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where the databases go; a real disk",
    )
    parser.add_argument("--body", type=_positive, default=256, help="bytes of a body")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument(
        "--first",
        action="store_true",
        help="run ahead of all other programs (real-time priority; for root, on a shared machine)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="a setting of the broker, besides " + ", ".join(DEFAULT_SETTINGS),
    )
    return parser


def place(arguments: argparse.Namespace) -> Place:
    """Where the runs happen; refused when the machine can't do it."""
    allowed = os.sched_getaffinity(0)
    for core in (arguments.server_core, arguments.client_core):
        if core not in allowed:
            raise RunFailed(f"core {core} is not ours: the cores are {sorted(allowed)}")
    if not arguments.data.is_dir():
        raise RunFailed(f"no directory {arguments.data}")
    if arguments.first and os.geteuid():
        raise RunFailed("only root can run ahead of all other programs")
    if arguments.first and (slice_ms := time_slice_ms()) > MOST_SLICE_MS:
        raise RunFailed(
            f"threads would take turns of {slice_ms:g} ms, which is unfair to servers that have"
            f" several: echo {MOST_SLICE_MS} > /proc/sys/kernel/sched_rr_timeslice_ms"
        )
    return Place(
        data=arguments.data,
        server_core=arguments.server_core,
        client_core=arguments.client_core,
        settings=arguments.settings,
        first=arguments.first,
    )


def allow_files(connections: int) -> None:
    """Raise the limit on open files, which the processes of a run inherit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE
    if most != resource.RLIM_INFINITY and most < wanted:
        raise RunFailed(f"{connections} connections want {wanted} open files; {most} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def report(name: str, where: Place, targets: list[str]) -> Report:
    """A report with nothing in it but where it comes from."""
    return Report(
        bench=name,
        started_at=time.time_ns() // 1_000_000,
        machine=describe(where.data),
        server_core=where.server_core,
        client_core=where.client_core,
        first=where.first,
        settings=[*DEFAULT_SETTINGS, *where.settings],
        durability={target: _promise(target, where) for target in targets},
    )


def measure(name: str, cases: list[Case], arguments: argparse.Namespace) -> int:
    """Run the cases on the chosen targets in turn and print them; the exit code."""
    targets: list[str] = arguments.targets
    where = place(arguments)
    empty = report(name, where, targets)
    with progress(len(cases) * len(targets) * arguments.runs) as watch:
        series = rounds(cases, targets, arguments.runs, where, watch)
    show(filled(empty, series=series, ratios=over(series, CEILING)), as_json=arguments.json)
    return 0


def filled(empty: Report, **parts: object) -> Report:
    """The frozen report with its figures."""
    values = {field: getattr(empty, field) for field in empty.__struct_fields__}
    return Report(**(values | parts))


@contextmanager
def progress(runs: int) -> Iterator[Watch]:
    """On a terminal a bar over the runs, with what runs and how far it is; otherwise silence."""
    if not sys.stderr.isatty():
        yield lambda label, settled: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=runs)
        before = ""

        def watch(label: str, settled: int) -> None:
            nonlocal before
            if before and label != before:
                bar.advance(task)
            before = label
            bar.update(task, description=f"{label}: {settled:,} through" if settled else label)

        yield watch


def _promise(target: str, where: Place) -> str:
    """What a target promises under these settings."""
    promise = TARGETS[target].promise
    if TARGETS[target].server == "broker" and "store.synchronous=normal" in where.settings:
        promise = promise.replace("synchronous=FULL", "synchronous=NORMAL, not synced by a commit")
    return promise


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
