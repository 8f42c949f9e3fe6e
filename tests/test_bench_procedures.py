"""The workloads that are procedures, small, against the real broker; and peers that are missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import procedure
from bench.__main__ import main
from bench.server import Place
from bench.traffic import RunFailed

Options = dict[str, int | str]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    cores = sorted(os.sched_getaffinity(0))
    settings = ["mail.max_depth=1000"]
    return Place(data=tmp_path, server_core=cores[0], client_core=cores[-1], settings=settings)


def figures(place: Place, workload: str, members: int, options: Options) -> dict[str, float]:
    """What a small run finds, by name."""
    found = procedure.run(
        workload,
        place,
        lambda step, done: None,
        members=members,
        options=options,
        fields={"agent_types": ["bench"]},
    )
    return {f"{one.case}: {one.what}": one.value for one in found}


def test_backlog_measures_at_each_depth(place: Place) -> None:
    found = figures(place, "backlog", 5, {"depths": "10,50", "sample": 8, "body": 20})
    assert {name.split(":")[0] for name in found} == {"at a depth of 10", "at a depth of 50"}
    assert all(value > 0 for value in found.values())


def test_backlog_that_hits_the_limit_gives_no_figures(place: Place) -> None:
    with pytest.raises(RunFailed, match="mailbox_full"):
        figures(place, "backlog", 5, {"depths": "1001", "sample": 8, "body": 20})


@pytest.mark.parametrize("role", ["service", "session"])
def test_idle_counts_the_memory_of_connections(place: Place, role: str) -> None:
    options: Options = {"role": role, "connections": 40, "seconds": 1, "settle_ms": 50}
    found = figures(place, "idle", 40, options)
    assert found[f"40 of role {role}: connects a second"] > 0
    assert f"40 of role {role}: memory of a connection with its presence" in found


def test_churn_resumes(place: Place) -> None:
    found = figures(place, "churn", 3, {"seconds": 1})
    assert found["3 peers: connects with resume"] > 3


@pytest.mark.parametrize(
    ("workload", "what"),
    [("dispatch", "dispatches a second"), ("delegations", "delegations a second")],
)
def test_rounds_are_counted(place: Place, workload: str, what: str) -> None:
    found = figures(place, workload, 20, {"lanes": 12, "seconds": 1, "body": 50})
    assert found[f"12 at a time: {what}"] > 0


def test_a_peer_that_is_not_installed_is_told_and_has_no_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["peers", "--targets", "redis", "--cases", "pairs1", "--runs", "1"]) == 1
    shown = capsys.readouterr()
    assert "redis was not measured" in shown.err
    assert "redis-server is not installed" in shown.err
    assert "in flight" not in shown.out


def test_unknown_targets_and_cases_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--cases", "pairs2"]) == 1
    assert "no case pairs2" in capsys.readouterr().err
    assert main(["pairs", "--targets", "kafka"]) == 1
    assert "no target kafka" in capsys.readouterr().err
