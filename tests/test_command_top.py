"""`postroom top`: what it counts, how it looks in 80 columns, and that it ends with q."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from command_rig import POSTROOM, Here, running
from rich.console import Console
from test_command_show import AT, peer

from broker.wire.delegations import DelegationPreview, DelegationStats
from broker.wire.directory import BrokerStats, DeepMailbox, MailboxStats, StorageStats
from clients.command.screen import lines
from clients.command.top import Rates, Snapshot, rates

PARTS = (
    "up 1h",
    "1.0 MiB",
    "session 2",
    "queued 3, claimed 1, acked 10, dead 1",
    "stuck 1",
    "accepted 1, acked 3, ended 3",
    "mailboxes (9 open)",
    "m0",
    "bob/s0",
    "service",
    "do do",
    "and 19 more",
)


def snapshot(**more: Any) -> Snapshot:
    """A look at a busy mesh."""
    stats = BrokerStats(
        version="1.2.3",
        uptime_ms=3_600_000,
        presences={"session": 2, "service": 0},
        deliveries={"queued": 3, "claimed": 1, "acked": 10, "dead": 1},
        mailboxes=MailboxStats(
            open=9,
            deepest=[DeepMailbox(mailbox=f"m{n}", depth=9 - n, oldest_ms=n) for n in range(9)],
        ),
        delegations={},
        dispatches={},
        storage=StorageStats(bytes=2**20, wal_bytes=0),
    )
    stuck = DelegationPreview(
        delegation="g1", caller="al", callee="bob", task_preview="do " * 90, status="stuck",
        deadline_at=AT, created_at=AT - 60_000, updated_at=AT,
    )  # fmt: skip
    said: dict[str, Any] = {
        "at": AT,
        "broker": stats,
        "delegations": DelegationStats(by_status={"stuck": 1}, oldest_in_flight_ms=None),
        "peers": [peer(address=f"bob/s{n}", summary="busy " * 40) for n in range(30)],
        "in_flight": [stuck],
    }
    return Snapshot(**{**said, **more})


def drawn(look: Snapshot, height: int | None = None, *, stale: bool = False) -> list[str]:
    """The picture in 80 columns."""
    console = Console(file=io.StringIO(), width=80, height=height)
    console.print(lines(look, height, stale=stale))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def test_the_picture_fits_the_terminal() -> None:
    for height in (10, 24, 50):
        picture = drawn(snapshot(rates=Rates(accepted=1.4, acked=2.6, ended=3)), height)
        assert max(map(len, picture)) <= 80
        assert len(picture) <= max(height, 22)
    text = "\n".join(picture)
    for part in PARTS:
        assert part in text
    assert drawn(snapshot(), stale=True)[0].startswith("the broker does not answer")


def test_an_empty_mesh_has_a_picture_too() -> None:
    empty = snapshot(peers=[], in_flight=[])
    assert drawn(empty)[-1] == "peers: none"
    assert "in flight: none" in drawn(empty)


def test_rates_are_growth_over_time() -> None:
    before, now = snapshot(at=AT - 2_000), snapshot()
    now.broker.deliveries = {"queued": 1, "claimed": 1, "acked": 20, "dead": 1}
    assert rates(before, now) == Rates(accepted=4.0, acked=5.0, ended=5.0)
    # What was purged meanwhile is not counted against what has come.
    assert rates(now, before).acked == 0


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A machine with a broker on it."""
    with running(tmp_path_factory.mktemp("machine")) as place:
        yield place


def test_one_look_is_one_document(here: Here) -> None:
    here.run("member", "add", "bob")
    here.run("mail", "send", "bob", "hi")
    here.run("delegation", "open", "bob", "dig")
    look = here.run("top", "--once", "--json").json
    assert set(look) == {"at", "broker", "delegations", "peers", "in_flight", "rates"}
    assert look["broker"]["deliveries"]["queued"] == 1
    assert look["delegations"]["by_status"]["queued"] == 1
    assert [one["callee"] for one in look["in_flight"]] == ["bob"]
    assert here.run("top", "--once").out.startswith("postroom ")


def test_without_a_terminal_there_is_one_look_only(here: Here) -> None:
    assert here.run("top").code == 2
    assert here.run("top", "--json").err == "postroom: --json goes with --once\n"


@pytest.mark.parametrize("told", [b"q", signal.SIGTERM])
def test_it_ends_and_gives_the_terminal_back(here: Here, told: bytes | signal.Signals) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*POSTROOM, "top", "--every", "100ms"],
        env={**here.environment(), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while b"each second" not in seen:
        seen += os.read(ours, 65_536)
    if isinstance(told, bytes):
        os.write(ours, told)
    else:
        process.send_signal(told)
    while b"\x1b[?1049l" not in seen:
        seen += os.read(ours, 65_536)
    assert process.wait(20) == 0
    os.close(ours)
    assert b"Traceback" not in seen
    # Nothing is cleared between two pictures: the next is written over the one before.
    assert b"\x1b[2J" not in seen.partition(b"postroom ")[2]
