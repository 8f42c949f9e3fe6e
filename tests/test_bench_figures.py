"""The bench's arithmetic: spreads, ratios, saturation, growth, and what a comparison says."""

from __future__ import annotations

import json
from argparse import Namespace
from array import array
from pathlib import Path
from typing import cast

import msgspec
import pytest

from bench import backlog, compare, page, plot, report, steady
from bench.__main__ import main
from bench.case import Case, Latency
from bench.machine import Machine
from bench.procedure import Figure, measures
from bench.report import Measure, Report
from bench.run import Sample, Series
from bench.server import Place
from bench.show import sheets
from bench.traffic import RunFailed, summarize

MACHINE = Machine(
    processor="any",
    cores=2,
    kernel="6",
    python="3.11",
    sqlite="3.40",
    file_system="ext4",
    sync_ms=0.1,
    load=0.0,
    commit="abc",
)


def sample(rate: float = 1_000.0, p50: float = 1.0) -> Sample:
    latency = Latency(p50, p50 * 2, p50 * 3)
    return Sample(
        sent=int(rate),
        seconds=1.0,
        rate=rate,
        reply=latency,
        delivery=latency,
        ack=latency,
        server_cpu_us=20.0,
        client_cpu_us=10.0,
        server_busy=0.5,
        client_busy=0.5,
        server_waited=0.0,
        client_waited=0.0,
        server_rss_start=1,
        server_rss_peak=2,
        server_rss_end=3,
        client_rss=4,
    )


def made(**parts: object) -> Report:
    whole: dict[str, object] = {
        "bench": "any",
        "started_at": 0,
        "machine": MACHINE,
        "server_core": 0,
        "client_core": 1,
        "settings": [],
    }
    return msgspec.convert(whole | parts, Report)


def measure(*values: float, better: str = "less") -> Measure:
    return Measure(case="c", target="t", what="w", unit="us", values=list(values), better=better)


def test_latency_is_the_median_the_99th_of_100_and_the_worst() -> None:
    nanoseconds = array("q", [number * 1_000_000 for number in range(100, 0, -1)])
    assert summarize(nanoseconds) == Latency(50.0, 99.0, 100.0)


def test_a_ratio_pairs_the_runs_in_order() -> None:
    case = Case(name="c", pattern="pairs", senders=1, receivers=1, seconds=1.0)
    series = [
        Series(case=case, target="broker", samples=[sample(500.0), sample(900.0)]),
        Series(case=case, target="relay", samples=[sample(1_000.0), sample(1_000.0)]),
    ]
    (ratio,) = report.over(series, "relay")
    assert (ratio.of, ratio.to) == ("broker", "relay")
    assert (ratio.rate.low, ratio.rate.median, ratio.rate.high) == (0.5, 0.7, 0.9)


@pytest.mark.parametrize(
    ("rate", "p50", "expected"), [(960.0, 1.0, False), (940.0, 1.0, True), (1_000.0, 150.0, True)]
)
def test_saturated_is_what_falls_behind_or_lags(rate: float, p50: float, expected: bool) -> None:
    case = Case(name="c", pattern="pairs", senders=1, receivers=1, offered=1_000.0, seconds=1.0)
    series = Series(case=case, target="broker", samples=[sample(rate, p50)])
    assert steady.saturated(series) is expected


def test_a_rate_that_is_refused_has_no_figures_and_ends_the_climb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[float] = []

    def rounds(cases: list[Case], targets: list[str], *_: object) -> list[Series]:
        tried.append(cases[0].offered)
        if cases[0].offered > 2_000:
            raise RunFailed("too much to do")
        return [Series(case=cases[0], target=targets[0], samples=[sample(cases[0].offered)])]

    monkeypatch.setattr(steady, "rounds", rounds)
    options = Namespace(targets=["broker"], pairs=1, seconds=1.0, body=256, runs=1)
    place = cast("Place", None)
    options.rates = [500, 2_000, 5_000, 10_000]
    found, missing = steady.rising(options, place, lambda *_: None)
    assert [one.case.offered for one in found] == [500, 2_000]
    assert missing == {"5,000 offered": "too much to do"}
    assert tried == [500, 2_000, 5_000]
    options.rates = [5_000]
    with pytest.raises(RunFailed):
        steady.rising(options, place, lambda *_: None)


def test_growth_is_each_cost_over_that_at_the_least_depth() -> None:
    figures = [
        Figure(case=case, what="send", unit="us", value=value)
        for case, value in (("1", 10.0), ("1", 12.0), ("9", 11.0), ("9", 22.0))
    ]
    (grown,) = backlog.growth(measures("broker", figures))
    assert grown.case == "9"
    assert grown.values == [1.0, 2.0]


@pytest.mark.parametrize(
    ("after", "better", "verdict"),
    [([5.0, 6.0], "less", "better"), ([5.0, 6.0], "more", "worse"), ([6.0, 11.0], "less", "")],
)
def test_a_comparison_says_better_or_worse_only_beyond_the_spread(
    after: list[float], better: str, verdict: str
) -> None:
    before = made(measures=[measure(10.0, 12.0, better=better)])
    (row,) = compare.compared(before, made(measures=[measure(*after, better=better)]))
    assert row.verdict == verdict
    assert row.ratio == pytest.approx(row.after.median / 11.0)


def test_compare_reads_what_json_wrote(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    case = Case(name="c", pattern="pairs", senders=1, receivers=1, seconds=1.0)
    for name, rate in (("a", 1_000.0), ("b", 2_000.0)):
        series = Series(case=case, target="broker", samples=[sample(rate)])
        whole = made()
        whole = msgspec.structs.replace(whole, series=[series])
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(whole))
    words = ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsysbinary.readouterr().out)
    assert rows[0]["what"] == "messages a second"
    assert rows[0]["ratio"] == 2.0
    assert main(words) == 0
    assert b"better" in capsysbinary.readouterr().out


def test_compare_refuses_what_is_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "none.json")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "is no report of this bench" in shown.err


def test_a_page_gets_its_tables_where_they_belong() -> None:
    text = "before\n<!-- bench idle -->\nold\n<!-- end -->\nafter\n"
    assert page.filled(text, "idle", "new") == (
        "before\n<!-- bench idle -->\n\nnew\n\n<!-- end -->\nafter\n"
    )
    with pytest.raises(RunFailed, match="no place for burst"):
        page.filled(text, "burst", "new")


def test_a_table_is_the_same_in_markdown() -> None:
    (sheet,) = sheets(made(measures=[measure(10.0, 12.0)]))
    assert sheet.markdown().splitlines()[2:] == [
        "| case | what | figure | unit |",
        "| --- | --- | --: | --: |",
        "| c | w | 11.0 (10.0 to 12.0) | us |",
    ]


def test_a_picture_has_a_bar_for_each_target_and_lines_for_an_open_loop(tmp_path: Path) -> None:
    closed = Case(name="c & d", pattern="pairs", senders=1, receivers=1, seconds=1.0)
    series = [Series(case=closed, target=name, samples=[sample()]) for name in ("broker", "relay")]
    (tmp_path / "a.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(made(), series=series))
    )
    assert main(["plot", str(tmp_path / "a.json"), "--to", str(tmp_path)]) == 0
    text = (tmp_path / "bench-any.svg").read_text()
    assert text.count("<rect x=") == 2
    assert "c &amp; d" in text
    opened = [
        Series(
            case=msgspec.structs.replace(closed, offered=rate), target="broker", samples=[sample()]
        )
        for rate in (500.0, 2_000.0)
    ]
    drawn = plot.drawn(msgspec.structs.replace(made(), series=opened))
    assert drawn.count("<polyline") == 2


def test_a_page_gets_the_pictures_that_it_shows(tmp_path: Path) -> None:
    case = Case(name="c", pattern="pairs", senders=1, receivers=1, seconds=1.0)
    series = [Series(case=case, target="broker", samples=[sample()])]
    report = msgspec.structs.replace(made(), series=series)
    (tmp_path / "pictures").mkdir()
    text = "![any](pictures/bench-any.svg)"
    page.redraw(tmp_path / "page.md", text, msgspec.structs.replace(report, bench="other"))
    assert list((tmp_path / "pictures").iterdir()) == []
    page.redraw(tmp_path / "page.md", text, report)
    assert (tmp_path / "pictures" / "bench-any.svg").read_text() == plot.drawn(report)
