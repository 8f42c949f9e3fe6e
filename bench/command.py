"""The command line that all workloads share.

Owns: the options, the progress on a terminal, the way from cases to a printed report and its exit
code. Must not know what a workload does.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.case import Case
from bench.machine import describe
from bench.report import Report, ratios, show
from bench.run import Place, Watch, rounds
from bench.server import DEFAULT_SETTINGS, DURABILITY
from bench.traffic import RunFailed

TARGETS = ("broker", "relay")
CEILING = "relay"


def options(name: str, about: str) -> argparse.ArgumentParser:
    """What every workload understands."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=about)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--runs", type=_positive, default=3, help="runs of each case and target")
    parser.add_argument(
        "--targets", default=",".join(TARGETS), help="run in turn: broker, relay (default both)"
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
    return Place(
        data=arguments.data,
        server_core=arguments.server_core,
        client_core=arguments.client_core,
        settings=arguments.settings,
    )


def report(name: str, where: Place, targets: list[str]) -> Report:
    """A report with nothing in it but where it comes from."""
    return Report(
        bench=name,
        started_at=time.time_ns() // 1_000_000,
        machine=describe(where.data),
        server_core=where.server_core,
        client_core=where.client_core,
        settings=[*DEFAULT_SETTINGS, *where.settings] if "broker" in targets else [],
        durability={target: DURABILITY[target] for target in targets},
    )


def compare(name: str, cases: list[Case], arguments: argparse.Namespace) -> int:
    """Run the cases on the chosen targets in turn and print them; the exit code."""
    targets = [target for target in arguments.targets.split(",") if target]
    for target in targets:
        if target not in TARGETS:
            raise RunFailed(f"no target {target}: there are {', '.join(TARGETS)}")
    where = place(arguments)
    empty = report(name, where, targets)
    with progress() as watch:
        series = rounds(cases, targets, arguments.runs, where, watch)
    found = [
        ratio
        for target in targets
        if target != CEILING and CEILING in targets
        for ratio in ratios(series, target, CEILING)
    ]
    show(filled(empty, series=series, ratios=found), as_json=arguments.json)
    return 0


def filled(empty: Report, **parts: object) -> Report:
    """The frozen report with its figures."""
    values = {field: getattr(empty, field) for field in empty.__struct_fields__}
    return Report(**(values | parts))


@contextmanager
def progress() -> Iterator[Watch]:
    """On a terminal one line that says what runs and how far it is; otherwise silence."""
    if not sys.stderr.isatty():
        yield lambda label, settled: None
        return
    with Console(stderr=True).status("starting", refresh_per_second=4) as status:
        yield lambda label, settled: status.update(f"{label}: {settled:,} messages through")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
