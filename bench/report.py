"""What a bench says in the end: medians, spread, ratios; for people or as JSON.

Owns: the arithmetic over runs and both ways to print. Must not know how a figure came about.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.case import Latency
from bench.commits import Committed
from bench.machine import Machine
from bench.run import Sample, Series

MIB = 2**20


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


class Report(Struct, frozen=True, kw_only=True):
    """One command's result, complete enough to be compared with another."""

    bench: str
    started_at: int
    machine: Machine
    server_core: int
    client_core: int
    settings: list[str]
    durability: dict[str, str]
    series: list[Series] = []
    commits: list[Committed] = []
    ratios: list[Ratio] = []


def spread(values: list[float]) -> Spread:
    """Over the runs of one case on one target."""
    return Spread(statistics.median(values), min(values), max(values))


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

    def over(pick: Callable[[Sample], float]) -> Spread:
        return spread([pick(one) / pick(two) if pick(two) else math.nan for one, two in pairs])

    return Ratio(
        case=mine.case.name,
        of=mine.target,
        to=other.target,
        rate=over(lambda sample: sample.rate),
        server_cpu=over(lambda sample: sample.server_cpu_us),
        delivery_p50=over(lambda sample: sample.delivery.p50),
        delivery_p99=over(lambda sample: sample.delivery.p99),
    )


def show(report: Report, *, as_json: bool) -> None:
    """To standard output."""
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    _head(console, report)
    if report.series:
        console.print(_rates(report.series))
        console.print(_costs(report.series))
    if report.commits:
        console.print(_commits(report.commits))
    if report.ratios:
        console.print(_ratios(report.ratios))


def _head(console: Console, report: Report) -> None:
    machine = report.machine
    console.print(
        f"[bold]{report.bench}[/] at commit {machine.commit}; {machine.processor},"
        f" {machine.cores} cores (server on {report.server_core}, clients on"
        f" {report.client_core}), load {machine.load:.1f} at the start; Linux {machine.kernel},"
        f" Python {machine.python}, SQLite {machine.sqlite};"
        f" {machine.file_system}, {machine.sync_ms:.2f} ms a sync"
    )
    if machine.file_system == "tmpfs":
        console.print("[red]the databases lie in memory: a sync costs nothing here[/]")
    if report.settings:
        console.print(f"settings: {', '.join(report.settings)}")
    for target, promise in report.durability.items():
        console.print(f"{target}: {promise}")


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right")
    return table


def _rates(series: list[Series]) -> Table:
    table = _table(
        "messages a second, and milliseconds as p50 / p99 / max",
        ["case", "target", "messages/s", "send to reply", "send to delivery", "delivery to ack"],
    )
    for one in series:
        table.add_row(
            one.case.name,
            one.target,
            spread([sample.rate for sample in one.samples]).text(),
            _latency(one.samples, lambda sample: sample.reply),
            _latency(one.samples, lambda sample: sample.delivery),
            _latency(one.samples, lambda sample: sample.ack),
        )
    return table


def _costs(series: list[Series]) -> Table:
    table = _table(
        "CPU in microseconds a message (share of its core; share taken by others), memory in MiB",
        ["case", "target", "messages", "server CPU", "client CPU", "start / peak / end", "client"],
    )
    for one in series:
        table.add_row(
            one.case.name,
            one.target,
            f"{sum(sample.sent for sample in one.samples):,}",
            _cost([(run.server_cpu_us, run.server_busy, run.server_waited) for run in one.samples]),
            _cost([(run.client_cpu_us, run.client_busy, run.client_waited) for run in one.samples]),
            " / ".join(
                f"{statistics.median(values) / MIB:,.0f}"
                for values in (
                    [sample.server_rss_start for sample in one.samples],
                    [sample.server_rss_peak for sample in one.samples],
                    [sample.server_rss_end for sample in one.samples],
                )
            ),
            f"{statistics.median([sample.client_rss for sample in one.samples]) / MIB:,.0f}",
        )
    return table


def _commits(commits: list[Committed]) -> Table:
    table = _table(
        "SQLite alone: insert, claim and ack in group commits",
        ["part", "batch", "messages/s", "CPU us a message", "commit ms p50 / p99 / max"],
    )
    for size in sorted({one.batch for one in commits}):
        several = [one for one in commits if one.batch == size]
        table.add_row(
            "commits",
            str(size),
            spread([one.messages / one.seconds for one in several]).text(),
            f"{statistics.median([1e6 * one.cpu_seconds / one.messages for one in several]):.1f}",
            _over([one.commit for one in several]),
        )
    return table


def _ratios(found: list[Ratio]) -> Table:
    table = _table(
        "ratios, run by run: median (least to greatest)",
        ["case", "ratio", "messages/s", "server CPU", "delivery p50", "delivery p99"],
    )
    for one in found:
        table.add_row(
            one.case,
            f"{one.of} / {one.to}",
            one.rate.text(2),
            one.server_cpu.text(2),
            one.delivery_p50.text(2),
            one.delivery_p99.text(2),
        )
    return table


def _latency(samples: list[Sample], pick: Callable[[Sample], Latency]) -> str:
    return _over([pick(sample) for sample in samples])


def _over(several: list[Latency]) -> str:
    """The median run's median and p99, the worst run's maximum."""
    p50 = statistics.median([one.p50 for one in several])
    p99 = statistics.median([one.p99 for one in several])
    return f"{p50:.2f} / {p99:.2f} / {max(one.max for one in several):.1f}"


def _cost(runs: list[tuple[float, float, float]]) -> str:
    """Each of the three over the runs: microseconds, busy, waited."""
    micro, busy, waited = (statistics.median(values) for values in zip(*runs, strict=True))
    return f"{micro:.1f} ({busy:.0%}; {waited:.0%})"
