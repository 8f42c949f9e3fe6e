"""Two results side by side: `python -m bench compare A.json B.json`

Owns: which figures of two reports belong together, and their ratio. Machines that differ are told:
absolute figures of two machines, or of a busy and a quiet hour, say little.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.report import Report, Spread, spread
from bench.show import WIDTH
from bench.traffic import RunFailed

LESS, MORE = "less", "more"


class Row(Struct, frozen=True, kw_only=True):
    """One figure of both."""

    case: str
    target: str
    what: str
    unit: str
    digits: int
    better: str
    before: Spread
    after: Spread

    @property
    def ratio(self) -> float | None:
        """After over before."""
        return self.after.median / self.before.median if self.before.median else None

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or nothing where the two spreads overlap."""
        if self.before.low <= self.after.high and self.after.low <= self.before.high:
            return ""
        rose = self.after.median > self.before.median
        return "better" if rose == (self.better == MORE) else "worse"


def main(words: list[str]) -> int:
    """`python -m bench compare`"""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description="B over A")
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args(words)
    before, after = load(arguments.before), load(arguments.after)
    rows = compared(before, after)
    if not rows:
        raise RunFailed("the two have no figure in common")
    if arguments.json:
        shown = [{**msgspec.to_builtins(row), "ratio": row.ratio} for row in rows]
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
        return 0
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for warning in differences(before, after):
        console.print(f"[yellow]{warning}[/]", highlight=False)
    console.print(_table(before, after, rows))
    return 0


def load(path: Path) -> Report:
    """A report that `--json` wrote."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as fault:
        raise RunFailed(f"{path}: {fault.strerror}") from fault
    except msgspec.DecodeError as fault:
        raise RunFailed(f"{path} is no report of this bench: {fault}") from fault


def figures(report: Report) -> dict[tuple[str, str, str], tuple[str, int, str, list[float]]]:
    """Every figure of a report: unit, digits, what is better, and the values of its runs."""
    found: dict[tuple[str, str, str], tuple[str, int, str, list[float]]] = {}
    for series in report.series:
        samples = series.samples
        columns: dict[str, tuple[str, int, str, list[float]]] = {
            "messages a second": ("1/s", 0, MORE, [one.rate for one in samples]),
            "send to reply, p50": ("ms", 2, LESS, [one.reply.p50 for one in samples]),
            "send to delivery, p50": ("ms", 2, LESS, [one.delivery.p50 for one in samples]),
            "send to delivery, p99": ("ms", 2, LESS, [one.delivery.p99 for one in samples]),
            "server CPU of a message": ("us", 1, LESS, [one.server_cpu_us for one in samples]),
            "client CPU of a message": ("us", 1, LESS, [one.client_cpu_us for one in samples]),
            "server memory, peak": (
                "MiB",
                0,
                LESS,
                [one.server_rss_peak / 2**20 for one in samples],
            ),
        }
        for what, column in columns.items():
            found[series.case.name, series.target, what] = column
    for one in report.measures:
        found[one.case, one.target, one.what] = (one.unit, one.digits, one.better, one.values)
    for size in dict.fromkeys(commit.batch for commit in report.commits):
        rates = [one.messages / one.seconds for one in report.commits if one.batch == size]
        found[f"{size} a commit", "SQLite alone", "messages a second"] = ("1/s", 0, MORE, rates)
    return found


def compared(before: Report, after: Report) -> list[Row]:
    """The figures that both have."""
    mine, others = figures(after), figures(before)
    return [
        Row(
            case=key[0],
            target=key[1],
            what=key[2],
            unit=unit,
            digits=digits,
            better=better,
            before=spread(others[key][3]),
            after=spread(values),
        )
        for key, (unit, digits, better, values) in mine.items()
        if key in others
    ]


def differences(before: Report, after: Report) -> list[str]:
    """What makes the comparison doubtful."""
    found = []
    for name in ("processor", "cores", "python", "sqlite", "file_system"):
        one, other = getattr(before.machine, name), getattr(after.machine, name)
        if one != other:
            found.append(f"not the same {name.replace('_', ' ')}: {one} and {other}")
    if before.settings != after.settings:
        found.append(f"not the same settings: {before.settings} and {after.settings}")
    if before.first != after.first:
        found.append("only one of the two ran ahead of all other programs")
    one_sync, other_sync = before.machine.sync_ms, after.machine.sync_ms
    if max(one_sync, other_sync) > 1.5 * min(one_sync, other_sync):
        found.append(
            f"the disk was not equally quick: {one_sync:.2f} and {other_sync:.2f} ms a sync"
        )
    return found


def _table(before: Report, after: Report, rows: list[Row]) -> Table:
    table = Table(
        title=f"{before.bench} at {before.machine.commit}, then {after.machine.commit}",
        title_justify="left",
    )
    for name in ("case", "target", "figure"):
        table.add_column(name)
    for name in ("before", "after", "after / before", ""):
        table.add_column(name, justify="right")
    for row in rows:
        colour = {"better": "green", "worse": "red", "": "default"}[row.verdict]
        table.add_row(
            row.case,
            row.target,
            f"{row.what} ({row.unit})",
            row.before.text(row.digits),
            row.after.text(row.digits),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            f"[{colour}]{row.verdict}[/]",
        )
    return table
