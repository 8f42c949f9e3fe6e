"""`/metrics`: every number is there, none is wrong, and not everybody may read it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from rig import Rig, rig

from broker import __version__
from broker.metrics import PULSE_SECONDS, Figures, Pulse


def scrape(r: Rig) -> dict[str, Metric]:
    """The metrics by name, as a collector reads them."""
    status, body, content_type = r.broker.figures.answer(None, guarded=False)
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """One sample."""
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == f"postroom_{name}" and sample.labels == labels
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


async def test_requests_by_operation_and_code(tmp_path: Path) -> None:
    """Operations count for the process, so it is the difference that is looked at."""
    async with rig(tmp_path) as r:
        before = scrape(r)
        owner = await r.join("owner", role="service")
        for _ in range(3):
            await owner.ask("presence.update")
        await owner.refused("not_found", "group.leave", group="@team")
        await owner.ask("peer.watch", on=True)
        await owner.ask("mail.list")
        after = scrape(r)

        def asked(op: str, code: str) -> float:
            was = 0.0
            if any(
                s.labels == {"op": op, "code": code} for s in before["postroom_requests"].samples
            ):
                was = value(before, "requests_total", op=op, code=code)
            return value(after, "requests_total", op=op, code=code) - was

        assert asked("hello", "ok") == 1
        assert asked("presence.update", "ok") == 3
        assert asked("group.leave", "not_found") == 1
        assert asked("group.leave", "ok") == 0
        assert asked("peer.watch", "ok") == 1
        assert asked("mail.list", "ok") == 1


async def test_how_long_and_how_large(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        for _ in range(20):
            owner.post("mail.send", to="owner", body=1)
        r.clock.time += 30
        await r.settle()
        await owner.ask("mail.list")
        seen = scrape(r)
        assert value(seen, "request_seconds_count", kind="change") == 22
        assert value(seen, "request_seconds_bucket", kind="change", le="0.025") == 2
        assert value(seen, "request_seconds_bucket", kind="change", le="0.05") == 22
        assert value(seen, "request_seconds_count", kind="read") == 1
        assert round(value(seen, "request_seconds_sum", kind="change"), 3) == 0.6
        assert value(seen, "batch_requests_bucket", le="16.0") == 2
        assert value(seen, "batch_requests_bucket", le="32.0") == 3
        assert value(seen, "batch_requests_bucket", le="+Inf") == 3
        assert value(seen, "batch_requests_sum") == 22
        assert value(seen, "commit_seconds_count") >= 3
        assert value(seen, "rows_written_total") > 40
        assert value(seen, "statements_total") > 3
        assert value(seen, "batches_total") >= 3
        assert value(seen, "waiting", what="requests") == 0


async def test_what_is_asked_for_and_not_done(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        for _ in range(5):
            owner.post("presence.update")
        assert value(scrape(r), "waiting", what="requests") == 5
        await r.settle()
        assert value(scrape(r), "waiting", what="requests") == 0


async def test_who_is_there(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        await owner.ask("mesh.create", mesh="far")
        await r.join("alice", session="s1")
        await (await r.join("alice", role="service")).lose()
        await r.join("alice", role="control-plane")
        seen = scrape(r)
        assert value(seen, "presences", role="session", transport="online") == 1
        assert value(seen, "presences", role="session", transport="away") == 0
        assert value(seen, "presences", role="service", transport="away") == 1
        assert value(seen, "presences", role="control-plane", transport="online") == 1
        assert value(seen, "observers") == 1
        assert value(seen, "members") == 3
        assert value(seen, "meshes") == 2
        assert value(seen, "mailboxes") == 4
        assert value(seen, "connections") == 0  # the rig has no sockets


async def test_what_waits(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service", capacity=2)
        for _ in range(5):
            await owner.ask("mail.send", to="alice", body=1)
        await owner.ask("mail.send", to="alice", body=1, delay_ms=60_000)
        await owner.ask("mail.send", to="owner", body=1)
        bob = await r.join("bob", role="service")
        bob.post("mail.claim", wait_ms=1_000)
        await r.settle()
        seen = scrape(r)
        assert value(seen, "deliveries", state="ready") == 3
        assert value(seen, "deliveries", state="claimed") == 3
        assert value(seen, "deliveries", state="later") == 1
        assert value(seen, "deepest_mailbox") == 6
        assert value(seen, "waiting_claims") == 1
        assert len(alice.mail()) == 2


async def test_what_runs_here(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.advance(2_500)
        seen = scrape(r)
        assert value(seen, "build", version=__version__, node=r.broker.house.node) == 1
        assert value(seen, "uptime_seconds") == 2.5
        assert value(seen, "storage_bytes", file="database") > 0
        assert value(seen, "storage_well") == 1
        assert value(seen, "draining") == 0
        assert "process_resident_memory_bytes" in seen
        assert "process_open_fds" in seen
        r.broker.executor.drain()
        assert value(scrape(r), "draining") == 1


async def test_what_goes_over_the_wire(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        counters = r.broker.server.counters
        counters.opened, counters.closed = 5, 2
        counters.messages_in, counters.messages_out = 7, 11
        counters.bytes_in, counters.bytes_out = 13, 17
        seen = scrape(r)
        assert value(seen, "connection_events_total", event="opened") == 5
        assert value(seen, "connection_events_total", event="closed") == 2
        assert value(seen, "messages_total", direction="in") == 7
        assert value(seen, "messages_total", direction="out") == 11
        assert value(seen, "bytes_total", direction="in") == 13
        assert value(seen, "bytes_total", direction="out") == 17


async def test_elsewhere_an_admins_token_is_needed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice")
        answer = r.broker.figures.answer
        assert answer(None, guarded=False)[0] == 200
        assert answer(None, guarded=True)[0] == 401
        assert answer("nonsense", guarded=True)[0] == 401
        assert answer(r.tokens["alice"], guarded=True)[0] == 403
        status, body, _ = answer(r.tokens["owner"], guarded=True)
        assert status == 200
        assert b"postroom_build" in body
        _, body, content_type = answer(None, guarded=True)
        assert b"postroom" not in body
        assert content_type == "text/plain; charset=utf-8"


async def test_a_late_loop_is_noticed() -> None:
    class Loop:
        now = 100.0
        called: list[tuple[float, object]]

        def time(self) -> float:
            return self.now

        def call_at(self, when: float, function: object) -> asyncio.TimerHandle:
            self.called.append((when, function))
            return asyncio.get_running_loop().call_later(1_000, print)

    loop = Loop()
    loop.called = []
    pulse = Pulse(loop)  # type: ignore[arg-type]  # as much of a loop as it uses
    for late in (0.0, 0.3):
        when, beat = loop.called[-1]
        assert when == loop.now + PULSE_SECONDS
        loop.now = when + late
        pulse._beat()
        assert beat == pulse._beat
    assert round(pulse.lag.sum, 6) == 0.3
    assert sum(pulse.lag.counts) == 2
    pulse.stop()


async def test_the_lag_is_shown_when_it_is_measured(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        assert "postroom_loop_lag_seconds" not in scrape(r)
        figures: Figures = r.broker.figures
        figures.pulse = Pulse(asyncio.get_running_loop())
        figures.pulse.lag.note(0.02)
        assert value(scrape(r), "loop_lag_seconds_bucket", le="0.025") == 1
        assert value(scrape(r), "loop_lag_seconds_bucket", le="0.01") == 0
        figures.pulse.stop()


async def test_a_scrape_leaves_nothing_behind(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("owner", role="service")
        first = scrape(r)
        assert set(scrape(r)) == set(first)
        assert r.broker.executor.idle
