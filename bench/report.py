"""What a bench says in the end: medians, spread, ratios.

Owns: a report as it is stored and the arithmetic over runs. Must not know how a figure came about,
nor how it is printed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from msgspec import Struct

from bench.commits import Committed
from bench.machine import Machine
from bench.run import Sample, Series


class Spread(Struct, frozen=True):
    """Median, least and greatest of several runs."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        """For a table."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


class Ratio(Struct, frozen=True, kw_only=True):
    """One target over another, run by run: what disturbs one of two neighbours disturbs both."""

    case: str
    of: str
    to: str
    rate: Spread
    server_cpu: Spread
    """CPU time per message: of all ratios the steadiest on a machine that is shared."""
    delivery_p50: Spread
    delivery_p99: Spread


class Measure(Struct, frozen=True, kw_only=True):
    """One figure of a workload that is no stream of messages, over its runs."""

    case: str
    target: str
    what: str
    unit: str
    values: list[float]
    digits: int = 1
    better: str = "less"
    """`more` or `less`: what a comparison calls better."""


class Report(Struct, frozen=True, kw_only=True):
    """One command's result, complete enough to be compared with another."""

    bench: str
    started_at: int
    machine: Machine
    server_core: int
    client_core: int
    settings: list[str]
    first: bool = False
    durability: dict[str, str] = {}
    series: list[Series] = []
    measures: list[Measure] = []
    commits: list[Committed] = []
    ratios: list[Ratio] = []
    missing: dict[str, str] = {}
    """Targets that could not be measured, and why."""


def spread(values: list[float]) -> Spread:
    """Over the runs of one case on one target."""
    return Spread(statistics.median(values), min(values), max(values))


def over(series: list[Series], ceiling: str) -> list[Ratio]:
    """Every target over the ceiling, where both were measured."""
    targets = dict.fromkeys(one.target for one in series if one.target != ceiling)
    return [ratio for target in targets for ratio in ratios(series, target, ceiling)]


def ratios(series: list[Series], of: str, to: str) -> list[Ratio]:
    """`of` over `to` in every case that both have run."""
    return [
        _ratio(mine, other)
        for mine in series
        for other in series
        if (mine.target, other.target) == (of, to) and mine.case == other.case
    ]


def _ratio(mine: Series, other: Series) -> Ratio:
    pairs = list(zip(mine.samples, other.samples, strict=True))

    def divided(pick: Callable[[Sample], float]) -> Spread:
        return spread([pick(one) / pick(two) if pick(two) else math.nan for one, two in pairs])

    return Ratio(
        case=mine.case.name,
        of=mine.target,
        to=other.target,
        rate=divided(lambda sample: sample.rate),
        server_cpu=divided(lambda sample: sample.server_cpu_us),
        delivery_p50=divided(lambda sample: sample.delivery.p50),
        delivery_p99=divided(lambda sample: sample.delivery.p99),
    )
