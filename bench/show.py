"""How a report is printed: tables for people, Markdown for a page, JSON for programs.

Owns: the tables. Must not know how a figure came about.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from rich.console import Console
from rich.table import Table

from bench.case import Latency
from bench.commits import Committed
from bench.report import Measure, Ratio, Report, spread
from bench.run import Sample, Series

MIB = 2**20
WIDTH = 170
LEFT_COLUMNS = 2


@dataclass
class Sheet:
    """One table, before it is known how it will be shown."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title, title_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if number < LEFT_COLUMNS else "right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a page."""
        rules = ["---" if number < LEFT_COLUMNS else "--:" for number in range(len(self.columns))]
        lines = [" | ".join(row) for row in (self.columns, rules, *self.rows)]
        return "\n".join(
            [f"{self.title[:1].upper()}{self.title[1:]}:", ""] + [f"| {line} |" for line in lines]
        )


def show(report: Report, *, as_json: bool) -> None:
    """To standard output."""
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for line in origin(report):
        console.print(line, highlight=False, markup=False)
    for sheet in sheets(report):
        console.print(sheet.rich())


def origin(report: Report) -> list[str]:
    """Where the figures come from: machine, settings, what each target promises."""
    machine = report.machine
    lines = [
        f"{report.bench} at commit {machine.commit}; {machine.processor},"
        f" {machine.cores} cores (server on {report.server_core}, clients on"
        f" {report.client_core}), load {machine.load:.1f} at the start; Linux {machine.kernel},"
        f" Python {machine.python}, SQLite {machine.sqlite};"
        f" {machine.file_system}, {machine.sync_ms:.2f} ms a sync"
        + ("; ahead of all other programs" if report.first else "")
    ]
    if machine.file_system == "tmpfs":
        lines.append("the databases lie in memory: a sync costs nothing here")
    if report.settings:
        lines.append(f"settings of the broker: {', '.join(report.settings)}")
    lines += [f"{target}: {promise}" for target, promise in report.durability.items()]
    lines += [f"{target} was not measured: {reason}" for target, reason in report.missing.items()]
    return lines


def sheets(report: Report) -> list[Sheet]:
    """All tables of a report."""
    found = []
    if report.series:
        found += [_rates(report.series), _costs(report.series)]
    if report.measures:
        found.append(_measures(report.measures))
    if report.commits:
        found.append(_commits(report.commits))
    if report.ratios:
        found.append(_ratios(report.ratios))
    return found


def _rates(series: list[Series]) -> Sheet:
    paced = any(one.case.offered for one in series)
    deliveries = any(one.case.copies > 1 for one in series)
    unit = "deliveries" if deliveries else "messages"
    sheet = Sheet(
        f"{unit} a second, and milliseconds as p50 / p99 / max",
        ["case", "target", f"{unit}/s", "send to reply", "send to delivery", "delivery to ack"]
        + ["generator late"] * paced,
    )
    for one in series:
        late = [sample.lateness for sample in one.samples if sample.lateness]
        sheet.rows.append(
            [
                one.case.name,
                one.target,
                spread([sample.rate for sample in one.samples]).text(),
                _latency(one.samples, lambda sample: sample.reply),
                _latency(one.samples, lambda sample: sample.delivery),
                _latency(one.samples, lambda sample: sample.ack),
                *([_over(late) if late else ""] * paced),
            ]
        )
    return sheet


def _costs(series: list[Series]) -> Sheet:
    sheet = Sheet(
        "CPU in microseconds a message (share of its core; share of the time its main thread had to"
        " wait for the core), memory in MiB",
        ["case", "target", "messages", "server CPU", "client CPU", "start / peak / end", "client"],
    )
    for one in series:
        runs = one.samples
        memory = " / ".join(
            f"{statistics.median(values) / MIB:,.0f}"
            for values in (
                [sample.server_rss_start for sample in runs],
                [sample.server_rss_peak for sample in runs],
                [sample.server_rss_end for sample in runs],
            )
        )
        sheet.rows.append(
            [
                one.case.name,
                one.target,
                f"{sum(sample.sent for sample in runs):,}",
                _cost([(run.server_cpu_us, run.server_busy, run.server_waited) for run in runs]),
                _cost([(run.client_cpu_us, run.client_busy, run.client_waited) for run in runs]),
                memory,
                f"{statistics.median([sample.client_rss for sample in runs]) / MIB:,.0f}",
            ]
        )
    return sheet


def _measures(measures: list[Measure]) -> Sheet:
    sheet = Sheet("median (least to greatest)", ["case", "what", "figure", "unit"])
    for one in measures:
        figure = spread(one.values).text(one.digits)
        sheet.rows.append([one.case, one.what, figure, one.unit])
    return sheet


def _commits(commits: list[Committed]) -> Sheet:
    sheet = Sheet(
        "SQLite alone: insert, claim and ack in group commits",
        ["part", "batch", "messages/s", "CPU us a message", "commit ms p50 / p99 / max"],
    )
    for size in sorted({one.batch for one in commits}):
        several = [one for one in commits if one.batch == size]
        cpu = statistics.median([1e6 * one.cpu_seconds / one.messages for one in several])
        rate = spread([one.messages / one.seconds for one in several]).text()
        over = _over([one.commit for one in several])
        sheet.rows.append(["commits", str(size), rate, f"{cpu:.1f}", over])
    return sheet


def _ratios(found: list[Ratio]) -> Sheet:
    sheet = Sheet(
        "ratios, run by run: median (least to greatest)",
        ["case", "ratio", "messages/s", "server CPU", "delivery p50", "delivery p99"],
    )
    for one in found:
        sheet.rows.append(
            [
                one.case,
                f"{one.of} / {one.to}",
                one.rate.text(2),
                one.server_cpu.text(2),
                one.delivery_p50.text(2),
                one.delivery_p99.text(2),
            ]
        )
    return sheet


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
