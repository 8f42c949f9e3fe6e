"""Steady: sends at fixed instants, an open loop, at rising rates until the target saturates.

Owns: the rates and the rule for when a target has had enough. A send counts from the instant that
it was due at, so that what waits is counted, in the generator's queue as in the broker's.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from bench import command
from bench.case import Case
from bench.report import over
from bench.run import Series, Watch, rounds
from bench.server import Place
from bench.show import show
from bench.targets import CEILING
from bench.traffic import RunFailed

RATES = (500, 2_000, 5_000, 10_000, 20_000, 30_000, 40_000, 60_000, 80_000, 100_000)
KEPT_UP = 0.95
"""Share of the offered rate that must be through when the offer ends."""
LAGGING_MS = 100.0
"""A median above it means that a queue grows for as long as the run lasts."""


def main(words: list[str]) -> int:
    """`python -m bench steady`"""
    parser = command.options("steady", "sends at a fixed rate over 100:100, whatever is unanswered")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--rates", type=_rates, default=list(RATES), metavar="N,...")
    arguments = parser.parse_args(words)
    where = command.place(arguments)
    empty = command.report("steady", where, arguments.targets)
    with command.progress(len(arguments.rates) * len(arguments.targets) * arguments.runs) as watch:
        series, missing = rising(arguments, where, watch)
    filled = command.filled(empty, series=series, ratios=over(series, CEILING), missing=missing)
    show(filled, as_json=arguments.json)
    for reason in missing.values():
        sys.stderr.write(f"bench steady: {reason}\n")
    return 1 if missing else 0


def rising(
    arguments: argparse.Namespace, where: Place, watch: Watch
) -> tuple[list[Series], dict[str, str]]:
    """Each rate on each target that has kept up so far; why it ended early, if it did.

    A target may refuse what is too much for it. Such a run has no figures, and no rate above it is
    tried, but those below it stand.
    """
    found: list[Series] = []
    targets = list(arguments.targets)
    for rate in arguments.rates:
        one = case(arguments.pairs, rate, arguments.seconds, arguments.body)
        try:
            series = rounds([one], targets, arguments.runs, where, watch)
        except RunFailed as failed:
            if not found:
                raise
            return found, {f"{rate:,} offered": str(failed)}
        found += series
        targets = [one.target for one in series if not saturated(one)]
        if not targets:
            break
    return found, {}


def saturated(series: Series) -> bool:
    """Whether the target, or the generator before it, could not keep up with the offer."""
    offered = series.case.offered
    rate = statistics.median([sample.rate for sample in series.samples])
    delay = statistics.median([sample.delivery.p50 for sample in series.samples])
    return rate < offered * KEPT_UP or delay > LAGGING_MS


def case(pairs: int, rate: int, seconds: float, body: int) -> Case:
    """One rate, over all pairs together."""
    return Case(
        name=f"{pairs}:{pairs}, {rate:,} offered",
        pattern="pairs",
        senders=pairs,
        receivers=pairs,
        offered=rate,
        seconds=seconds,
        body_bytes=body,
    )


def _rates(text: str) -> list[int]:
    rates = [int(word) for word in text.split(",") if word.isdigit()]
    if not rates or min(rates) < 1 or rates != sorted(set(rates)):
        raise RunFailed(f"{text!r} is no rising list of rates")
    return rates
