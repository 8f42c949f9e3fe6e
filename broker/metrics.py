"""`/metrics`: the broker's plain numbers as Prometheus text, put together when somebody asks.

Owns: the names of the metrics and who may read them. Each number is kept where it arises and only
read at the scrape; nothing is measured here but how late the event loop is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from broker import __version__
from broker.areas.directory.access import steers_broker
from broker.config import SECOND
from broker.spread import Spread

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.core.executor import Executor
    from broker.core.house import House
    from broker.core.operations import Operations
    from broker.net.server import Server
    from broker.store.sqlite import Store

PULSE_SECONDS: Final = 0.5
PLAIN: Final = "text/plain; charset=utf-8"


class Pulse:
    """Asks to be called at an instant, and looks how much later it was."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.lag = Spread()
        self._due = loop.time() + PULSE_SECONDS
        self._timer = loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        self.lag.note(max(now - self._due, 0.0))
        self._due = now + PULSE_SECONDS
        self._timer = self._loop.call_at(self._due, self._beat)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are."""

    clock: Clock
    executor: Executor
    house: House
    operations: Operations
    server: Server
    store: Store


class Figures(Collector):
    """All of the broker's metrics, collected at the scrape."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.pulse: Pulse | None = None
        """Measures the event loop, once there is one to be measured."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def answer(self, bearer: str | None, *, guarded: bool) -> tuple[int, bytes, str]:
        """What `/metrics` says: status, body, content type.

        Where it is guarded, it says so to owners and admins of the first mesh only.
        """
        if guarded:
            steers = steers_broker(self._sources.house, self._sources.clock.now(), bearer)
            if steers is None:
                return HTTPStatus.UNAUTHORIZED, b"a bearer token is needed here\n", PLAIN
            if not steers:
                return HTTPStatus.FORBIDDEN, b"this token is no admin's\n", PLAIN
        return HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterable[Metric]:
        sources = self._sources
        build = {(__version__, sources.house.node): 1}
        yield _gauge("build", "1, with what runs here", build, "version", "node")
        uptime = (sources.clock.now() - sources.house.started_at) / SECOND
        yield _gauge("uptime_seconds", "Time since the start", {(): uptime})
        yield from _requests(sources)
        yield from _work(sources)
        if self.pulse is not None:
            lag = {(): self.pulse.lag}
            yield _histogram("loop_lag_seconds", "How late the event loop does what is due", lag)
        yield from _people(sources)
        yield from _queues(sources.house)
        yield from _wire(sources)
        yield from _storage(sources)


def _requests(sources: Sources) -> Iterator[Metric]:
    measures = sources.executor.measures
    counts = {
        (operation.name, code): count
        for operation in sources.operations.table.values()
        for code, count in operation.counts.items()
        if count or code == "ok"
    }
    yield _counter("requests", "Requests that were answered", counts, "op", "code")
    yield _histogram(
        "request_seconds",
        "From the arrival of a request to the end of its batch; the look behind it, if it reads",
        {("change",): measures.changes, ("read",): measures.reads},
        "kind",
    )


def _work(sources: Sources) -> Iterator[Metric]:
    executor, writer = sources.executor, sources.store.writer
    yield _counter("batches", "Transactions, tries that failed included", {(): executor.batches})
    yield _histogram("batch_requests", "Requests in one transaction", {(): executor.measures.sizes})
    yield _histogram("commit_seconds", "Time of a commit, its sync included", {(): writer.seconds})
    yield _counter("statements", "SQL statements of the writer", {(): writer.statements})
    yield _counter("rows_written", "Rows inserted, updated and deleted", {(): writer.rows})
    waiting = {
        ("requests",): executor.waiting,
        ("reads",): executor.looks,
    }
    yield _gauge("waiting", "What was asked for and is not done", waiting, "what")


def _people(sources: Sources) -> Iterator[Metric]:
    yield _gauge("connections", "WebSocket connections", {(): sources.server.connections})
    presences: dict[tuple[str, ...], int] = {
        (role, transport): 0
        for role in ("control-plane", "service", "session")
        for transport in ("online", "away")
    }
    observers = 0
    for presence in sources.house.presences.values():
        if presence.observe:
            observers += 1
        else:
            presences[presence.role, presence.transport] += 1
    yield _gauge("presences", "Presences that peers see", presences, "role", "transport")
    yield _gauge("observers", "Presences that peers don't see", {(): observers})
    yield _gauge("meshes", "Meshes", {(): len(sources.house.meshes)})
    members = sum(len(mesh.members) for mesh in sources.house.meshes.values())
    yield _gauge("members", "Members of all meshes", {(): members})


def _queues(house: House) -> Iterator[Metric]:
    ready = unfinished = deepest = 0
    for box in house.boxes.values():
        if box.unfinished:
            ready += box.queue.ready
            unfinished += box.unfinished
            deepest = max(deepest, box.unfinished)
    deliveries = {
        ("ready",): ready,
        ("claimed",): len(house.claims),
        ("later",): max(unfinished - ready - len(house.claims), 0),
    }
    yield _gauge("deliveries", "Unfinished deliveries in open mailboxes", deliveries, "state")
    yield _gauge("mailboxes", "Open mailboxes", {(): len(house.boxes)})
    yield _gauge("deepest_mailbox", "Unfinished deliveries of the fullest", {(): deepest})
    yield _gauge("waiting_claims", "Pull claims that wait for mail", {(): len(house.waiters)})


def _wire(sources: Sources) -> Iterator[Metric]:
    counters = sources.server.counters
    opened = {("opened",): counters.opened, ("closed",): counters.closed}
    yield _counter("connection_events", "Connections opened and closed", opened, "event")
    messages = {("in",): counters.messages_in, ("out",): counters.messages_out}
    yield _counter("messages", "WebSocket messages", messages, "direction")
    carried = {("in",): counters.bytes_in, ("out",): counters.bytes_out}
    yield _counter("bytes", "Bytes on the wire", carried, "direction")


def _storage(sources: Sources) -> Iterator[Metric]:
    size, log_size = sources.store.size()
    sizes = {("database",): size, ("wal",): log_size}
    yield _gauge("storage_bytes", "The database and its write-ahead log", sizes, "file")
    well = sources.executor.fault is None
    yield _gauge("storage_well", "1 while the storage can be written", {(): int(well)})
    yield _gauge("draining", "1 while the broker goes away", {(): int(sources.executor.draining)})


Samples = Mapping[Any, float]
"""By the values of the labels."""


def _gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"postroom_{name}", text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _counter(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    family = CounterMetricFamily(f"postroom_{name}", text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def _histogram(name: str, text: str, spreads: Mapping[Any, Spread], *labels: str) -> Metric:
    family = HistogramMetricFamily(f"postroom_{name}", text, labels=labels)
    for values, spread in spreads.items():
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*spread.bounds, float("inf")), spread.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), total))
        family.add_metric(values, buckets, sum_value=spread.sum)
    return family
