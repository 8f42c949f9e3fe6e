"""Peers: the same work by what a user might pick instead, in the same run.

Owns: the cases, the trial run that finds out who is there, the ratios of Postroom over each other.
A peer that can't be measured is told and ends the command with 1; it has no row.
"""

from __future__ import annotations

import argparse
import sys

from bench import burst, command, pairs, steady
from bench.case import Case
from bench.report import ratios
from bench.run import once, rounds
from bench.server import Place
from bench.show import show
from bench.targets import TARGETS
from bench.traffic import RunFailed

OURS = "clients"
PEERS = ("jetstream-always", "jetstream", "jetstream-ws", "postgres", "redis")
TRIAL = Case(name="trial", pattern="pairs", senders=1, receivers=1, messages=10)


def main(words: list[str]) -> int:
    """`python -m bench peers`"""
    parser = command.options("peers", "Postroom beside JetStream, PostgreSQL and Redis")
    parser.set_defaults(targets=[OURS, *PEERS])
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a run")
    parser.add_argument("--messages", type=int, default=1_000, help="of each peer of the burst")
    parser.add_argument(
        "--cases",
        default="pairs10,pairs1,burst,steady500,steady2000",
        help="some of pairs10, pairs1, burst, steady500, steady2000 (default all)",
    )
    arguments = parser.parse_args(words)
    cases = chosen(arguments)
    where = command.place(arguments)
    with command.progress((len(cases) * arguments.runs + 1) * len(arguments.targets)) as watch:
        missing = {}
        for target in arguments.targets:
            watch(f"is {target} there?", 0)
            reason = fault(target, where)
            if reason:
                missing[target] = reason
        targets = [target for target in arguments.targets if target not in missing]
        empty = command.report("peers", where, targets)
        series = rounds(cases, targets, arguments.runs, where, watch)
    found = [ratio for other in targets if other != OURS for ratio in ratios(series, OURS, other)]
    show(
        command.filled(empty, series=series, ratios=found, missing=missing),
        as_json=arguments.json,
    )
    for target, reason in missing.items():
        sys.stderr.write(f"bench peers: {target} was not measured: {reason}\n")
    return 1 if missing else 0


def fault(target: str, place: Place) -> str:
    """Why a target can't be measured here, found out by a few messages; empty when it can."""
    try:
        once(TRIAL, target, place, lambda settled: None)
    except RunFailed as failed:
        if TARGETS[target].server == "broker":
            raise
        return str(failed)
    return ""


def chosen(arguments: argparse.Namespace) -> list[Case]:
    """The cases that are wanted."""
    seconds, body = arguments.seconds, arguments.body
    known = {
        "pairs10": pairs.case(100, 10, seconds, body),
        "pairs1": pairs.case(100, 1, seconds, body),
        "burst": burst.case(100, arguments.messages, 10, body),
        "steady500": steady.case(100, 500, seconds, body),
        "steady2000": steady.case(100, 2_000, seconds, body),
    }
    names = [name for name in arguments.cases.split(",") if name]
    for name in names:
        if name not in known:
            raise RunFailed(f"no case {name}: there are {', '.join(known)}")
    if not names:
        raise RunFailed("no case is named")
    return [known[name] for name in names]
