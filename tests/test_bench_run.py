"""The bench tells the truth: a good run has figures, a bad one a line and a non-zero exit."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bench import report, run, server
from bench.__main__ import main
from bench.case import Case
from bench.server import Place
from bench.targets import TARGETS, Target
from bench.traffic import RunFailed, Traffic

Result = TypeVar("Result")
SMALL = Case(name="small", pattern="burst", senders=4, window=3, messages=25)
PAIR = Case(name="pair", pattern="pairs", senders=1, receivers=1, window=1, messages=3)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(work)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    cores = sorted(os.sched_getaffinity(0))
    return Place(data=tmp_path, server_core=cores[0], client_core=cores[-1], settings=[])


def test_relay_stores_delivers_and_acks_each_message_once(place: Place) -> None:
    sample = run.once(SMALL, "relay", place, lambda settled: None)
    assert sample.sent == 4 * 25
    assert sample.rate > 0
    assert sample.reply.p50 <= sample.reply.p99 <= sample.reply.max


def test_rounds_run_the_targets_in_turn_and_ratios_pair_them(place: Place) -> None:
    labels: list[str] = []
    series = run.rounds([SMALL], ["relay", "echo"], 2, place, lambda label, n: labels.append(label))
    started = list(dict.fromkeys(labels))
    assert [label.split()[1] for label in started] == ["relay", "echo", "echo", "relay"]
    (ratio,) = report.ratios(series, "echo", "relay")
    assert ratio.rate.low <= ratio.rate.median <= ratio.rate.high


def test_an_open_loop_sends_exactly_what_was_due_and_says_how_late(place: Place) -> None:
    case = Case(name="open", pattern="pairs", senders=2, receivers=2, offered=200.0, seconds=0.5)
    sample = run.once(case, "relay", place, lambda settled: None)
    assert sample.sent == 100
    assert sample.lateness is not None
    assert sample.delivery.max >= sample.lateness.p50


def test_a_fan_out_counts_each_copy(place: Place) -> None:
    case = Case(name="fan", pattern="fanout", senders=1, receivers=3, window=2, messages=5)
    sample = run.once(case, "broker", place, lambda settled: None)
    assert sample.sent == 15


def test_our_own_client_drives_the_broker(place: Place) -> None:
    assert run.once(SMALL, "clients", place, lambda settled: None).sent == 100


def test_a_target_that_loses_messages_gives_no_figures(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = Target("lossy", "tests.bench_lossy_relay", "raw", "nothing")
    monkeypatch.setitem(TARGETS, "lossy", lossy)
    monkeypatch.setattr(run, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(RunFailed, match=r"small on lossy: nothing moved .* were never delivered"):
        run.rounds([SMALL], ["lossy"], 1, place, lambda label, settled: None)


def test_a_message_that_is_lost_or_doubled_is_a_fault() -> None:
    async def book() -> list[str]:
        traffic = Traffic(PAIR)
        traffic.start()
        for _ in range(3):
            traffic.take(0, 1)
        for number in (0, 1, 1):
            traffic.stored(number, 2)
            traffic.arrived(number, 3)
        traffic.settled(0, 4)
        return traffic.faults()

    assert _run(book()) == [
        "1 of 3 messages were never answered",
        "1 of 3 messages were answered more than once",
        "1 of 3 messages were never delivered",
        "1 of 3 messages were delivered more than once",
        "2 of 3 messages were never acked",
    ]


def test_a_message_that_nobody_sent_yet_is_a_fault() -> None:
    async def book() -> None:
        traffic = Traffic(PAIR)
        traffic.start()
        assert traffic.take(0, 1) == 0
        for heard in (traffic.stored, traffic.arrived):
            heard(0, 2)
            with pytest.raises(RunFailed, match="message 1 came"):
                heard(1, 2)

    _run(book())


def test_a_body_has_the_wanted_size_and_tells_its_number() -> None:
    async def body() -> bytes:
        return Traffic(PAIR).body(1234)

    whole = _run(body())
    assert len(whole) == 256
    assert json.loads(whole).startswith("000001234")
    assert Traffic.number(whole) == 1234


def test_a_target_that_does_not_start_gives_no_figures(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "_command", lambda *_: ["false"])
    assert main(["burst", "--runs", "1", "--peers", "2", "--messages", "1"]) == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "the broker did not start" in shown.err


def test_a_generator_that_says_nothing_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SILENT_SECONDS", 0.2)
    real = server.spawn

    def spawn(command: list[str], *others: Any) -> Any:
        return real(["sleep", "30"] if "bench.load" in command else command, *others)

    monkeypatch.setattr(run, "spawn", spawn)
    with pytest.raises(RunFailed, match=r"the generator said nothing for 0.2 s"):
        run.once(SMALL, "relay", place, lambda settled: None)


def test_a_database_without_the_acks_gives_no_figures(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.tables.acked_rows", lambda data: 99)
    with pytest.raises(RunFailed, match="99 acked deliveries of 100"):
        run.once(SMALL, "relay", place, lambda settled: None)


def test_a_core_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["burst", "--server-core", "4000"]) == 1
    assert "core 4000 is not ours" in capsys.readouterr().err


def test_an_unknown_workload_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bursts"]) == 2
    assert "no workload bursts" in capsys.readouterr().err
