"""Pictures of results: `python -m bench plot RESULT.json ... [--to docs]`, one SVG for each.

Owns: bars of messages a second, and lines of latency over the offered rate. Must not know how a
figure came about.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from pathlib import Path

from bench.compare import load
from bench.report import Report
from bench.run import Series
from bench.traffic import RunFailed

WIDTH, BAR, GAP, LEFT, TOP = 860, 18, 14, 330, 56
LINES_HEIGHT = 360
COLOURS = ("#2563eb", "#0d9488", "#d97706", "#dc2626", "#7c3aed", "#4b5563", "#65a30d")
PAPER, INK, GRID = "#ffffff", "#1f2937", "#e5e7eb"


def main(words: list[str]) -> int:
    """`python -m bench plot`"""
    parser = argparse.ArgumentParser(prog="python -m bench plot", description="pictures, as SVG")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULT.json")
    parser.add_argument("--to", type=Path, default=Path("docs"), metavar="DIR")
    arguments = parser.parse_args(words)
    if not arguments.to.is_dir():
        raise RunFailed(f"no directory {arguments.to}")
    for path in arguments.results:
        report = load(path)
        if not report.series:
            raise RunFailed(f"{path} has no messages a second to draw")
        picture = arguments.to / f"bench-{report.bench}.svg"
        picture.write_text(drawn(report))
        sys.stdout.write(f"{picture}\n")
    return 0


def drawn(report: Report) -> str:
    """The picture of a report: lines for an open loop, bars for everything else."""
    if all(one.case.offered for one in report.series):
        return lines(report)
    return bars(report)


def bars(report: Report) -> str:
    """Messages a second, a bar for each target, by case; the thin line is the spread."""
    series = [one for one in report.series if not one.case.offered]
    targets = list(dict.fromkeys(one.target for one in series))
    most = max(sample.rate for one in series for sample in one.samples)
    scale = (WIDTH - LEFT - 110) / most
    parts: list[str] = []
    top, before = TOP, ""
    for one in series:
        if one.case.name != before:
            top += GAP
            parts.append(_text(12, top + BAR - 5, one.case.name, bold=True))
            before = one.case.name
        rates = [sample.rate for sample in one.samples]
        middle, low, high = statistics.median(rates), min(rates), max(rates)
        colour = COLOURS[targets.index(one.target) % len(COLOURS)]
        parts += [
            _text(LEFT - 8, top + BAR - 5, one.target, anchor="end"),
            f'<rect x="{LEFT}" y="{top}" width="{middle * scale:.1f}" height="{BAR - 3}"'
            f' fill="{colour}"/>',
            f'<line x1="{LEFT + low * scale:.1f}" x2="{LEFT + high * scale:.1f}"'
            f' y1="{top + BAR / 2 - 1.5}" y2="{top + BAR / 2 - 1.5}" stroke="{INK}"/>',
            _text(LEFT + high * scale + 6, top + BAR - 5, f"{middle:,.0f}"),
        ]
        top += BAR
    return _whole(report, "messages a second (the line: least to greatest)", top + 20, parts)


def lines(report: Report) -> str:
    """Send to delivery over the offered rate, both logarithmic: p50 solid, p99 dashed."""
    right, bottom = WIDTH - 150, TOP + LINES_HEIGHT
    rates = sorted({one.case.offered for one in report.series})
    values = [
        value for one in report.series for value in (_middle(one, "p50"), _middle(one, "p99"))
    ]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log10(rates[0]), math.log10(rates[-1])

    def across(rate: float) -> float:
        return 70 + (right - 70) * (math.log10(rate) - first) / ((last - first) or 1)

    def down(value: float) -> float:
        return bottom - LINES_HEIGHT * (math.log10(value) - low) / ((high - low) or 1)

    parts: list[str] = []
    for power in range(low, high + 1):
        height = down(10.0**power)
        parts.append(f'<line x1="70" x2="{right}" y1="{height}" y2="{height}" stroke="{GRID}"/>')
        parts.append(_text(62, height + 4, f"{10.0**power:g} ms", anchor="end"))
    below = bottom + 18
    parts += [_text(across(rate), below, f"{rate:,.0f}", anchor="middle") for rate in rates]
    for number, target in enumerate(dict.fromkeys(one.target for one in report.series)):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(_text(right + 14, TOP + 16 * number + 12, target, colour=colour, bold=True))
        mine = [one for one in report.series if one.target == target]
        for name, dashes in (("p50", ""), ("p99", ' stroke-dasharray="5 4"')):
            points = " ".join(
                f"{across(one.case.offered):.1f},{down(_middle(one, name)):.1f}" for one in mine
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}"'
                f' stroke-width="2"{dashes}/>'
            )
    title = "send to delivery over sends offered a second: p50, and p99 dashed"
    return _whole(report, title, bottom + 40, parts)


def _middle(series: Series, name: str) -> float:
    """The median run's value, and never nothing, which a logarithm does not know."""
    values: list[float] = [getattr(sample.delivery, name) for sample in series.samples]
    return max(statistics.median(values), 1e-3)


def _whole(report: Report, title: str, height: float, parts: list[str]) -> str:
    machine = report.machine
    origin = (
        f"{report.bench} at commit {machine.commit}; {machine.processor}, {machine.cores} cores,"
        f" {machine.file_system}, {machine.sync_ms:.2f} ms a sync"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
            ' font-family="system-ui, sans-serif" font-size="12">',
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            _text(12, 22, title, bold=True),
            _text(12, 40, origin),
            *parts,
            "</svg>\n",
        ]
    )


def _text(
    across: float,
    down: float,
    words: str,
    *,
    anchor: str = "start",
    colour: str = INK,
    bold: bool = False,
) -> str:
    safe = words.replace("&", "&amp;").replace("<", "&lt;")
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{safe}</text>"
    )
