"""The composition root: builds the broker from its parts and owns all of its running.

Owns: which concrete classes there are, the start, the drain and the end. The only file that knows
all layers; it holds no rule of any of them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from broker import __version__
from broker.areas import operations
from broker.areas.directory.load import last_start, load
from broker.areas.directory.meshes import found, owner_token
from broker.areas.mail.restore import last_sent, restore
from broker.areas.presence.leave import lost
from broker.areas.presence.load import last_seen
from broker.areas.presence.load import load as load_presences
from broker.areas.presence.resume import spend
from broker.clock import Chance, Clock, SystemChance, SystemClock
from broker.config import Settings
from broker.core.conversation import Conversation
from broker.core.executor import Executor
from broker.core.house import DEFAULT_MESH, House, Presence
from broker.core.ports import Greeting, Line
from broker.core.pump import LoopPump, Pump
from broker.core.turn import Turn
from broker.data import OWNER_TOKEN, URL_FILE, open_data, usable, write_private
from broker.log import BadLevel, set_up
from broker.metrics import Figures, Pulse, Sources
from broker.net.hub import Hooks, Limits
from broker.net.server import ListenFailed, Server
from broker.output import announce
from broker.store.lock import DataDirectoryUnusable, DirectoryLock
from broker.store.migrate import MigrationRefused
from broker.store.sqlite import Store

log = logging.getLogger("broker")

LOG_LEVEL: Final = "POSTROOM_LOG"  # the environment variable
GOING_AWAY: Final = 1001
GC_THRESHOLDS: Final = (200_000, 50, 100)  # little of what a message makes is ever a cycle
LINGER_SECONDS: Final = 1.0  # time for a worker to ack what it has in hand
DRAIN_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Listen:
    """How a broker starts: where it listens, and what it makes first."""

    host: str = "127.0.0.1"
    port: int = 7450
    cert: Path | None = None
    key: Path | None = None
    origins: tuple[str, ...] = ()
    new_owner_token: bool = False


class Broker:
    """A running broker. `start` makes one, `drain` ends it."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Clock,
        origins: tuple[str, ...] = (),
        chance: Chance | None = None,
        pump: Pump | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock
        self.house = House()
        self.turn = Turn(store.writer, self.house, settings, chance or SystemChance(), operations)
        self.pump = pump or LoopPump(clock)
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        limits = settings.limits
        self.server = Server(
            Limits(
                frame=limits.frame,
                outbox=limits.outbox,
                connections=limits.connections,
                unauthenticated=limits.unauthenticated,
                hello_ms=settings.presence.hello_ms,
            ),
            Hooks(
                accept=self.accept,
                unauthenticated=self._unauthenticated,
                ready=self.ready,
                metrics=self._metrics,
            ),
            origins=origins,
        )
        self.executor = Executor(
            store,
            self.turn,
            clock,
            operations,
            self.pump.schedule,
            self.server.flush,
            self._fatal,
        )
        if isinstance(self.pump, LoopPump):
            self.pump.executor = self.executor
        self.strangers: set[Conversation] = set()
        self.figures = Figures(
            Sources(clock, self.executor, self.house, operations, self.server, store)
        )

    # -- what the conversations tell ------------------------------------------------------------

    def gone(self, conversation: Conversation) -> None:
        """A socket is lost."""
        self.strangers.discard(conversation)
        self.executor.submit(lambda turn: lost(turn, conversation))

    def writable(self, presence: Presence) -> None:
        """An outbox has room again."""
        self.executor.submit(lambda turn: turn.stirred.extend(presence.drains))

    def heard(self, presence: Presence, conversation: Conversation) -> None:
        """A resume value is spent."""
        self.executor.submit(lambda turn: spend(turn, presence, conversation))

    # -- what net asks ----------------------------------------------------------------------------

    def accept(self, line: Line, greeting: Greeting) -> Conversation:
        conversation = Conversation(
            line, greeting, self.executor, self.settings, self.clock.monotonic, self
        )
        self.strangers.add(conversation)
        return conversation

    def _unauthenticated(self) -> int:
        strangers = self.strangers
        strangers.difference_update([one for one in strangers if one.presence is not None])
        return len(strangers)

    def ready(self) -> tuple[bool, str]:
        """What `/readyz` says."""
        if self.executor.draining:
            return False, "draining\n"
        if self.executor.fault is not None:
            return False, f"storage: {self.executor.fault}\n"
        if self.settings.store.synchronous != "full":
            return (
                True,
                "ready, but store.synchronous is normal: power loss may cost the last moments\n",
            )
        return True, "ready\n"

    def _metrics(self, bearer: str | None) -> tuple[int, bytes, str]:
        # A proxy on this machine makes every peer look local: what counts is where we listen.
        return self.figures.answer(bearer, guarded=not self.server.loopback)

    def _fatal(self, fault: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(fault)

    # -- the life of it ---------------------------------------------------------------------------

    def begin(self, directory: Path, *, new_owner_token: bool = False) -> None:
        """Read what there is; at the very first start make the mesh and its owner."""
        turn = self.turn
        turn.start(self.clock.now())
        self.clock.not_before(max(last_start(turn), last_sent(turn), last_seen(turn)))
        turn.start(self.clock.now())
        load(turn)
        load_presences(turn)
        restore(turn)
        if DEFAULT_MESH not in self.house.meshes:
            _, token = found(turn, DEFAULT_MESH)
            write_private(directory / OWNER_TOKEN, token + "\n")
        elif new_owner_token:
            another = owner_token(turn)
            if another is None:
                raise DataDirectoryUnusable("--new-owner-token: the member `owner` was removed")
            write_private(directory / OWNER_TOKEN, another + "\n")
        self.store.writer.commit()
        self.pump.arm()

    async def drain(self) -> None:
        """Take no more, answer what was read, say good-bye."""
        self.server.stop_accepting()
        self.executor.drain()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self.server.connections and loop.time() < began + DRAIN_SECONDS:
            if self.executor.idle and loop.time() > began + LINGER_SECONDS:
                break
            await asyncio.sleep(0.02)
        self.server.close_all(GOING_AWAY, "the broker is going away")
        await self.server.closed(CLOSE_SECONDS)
        self.pump.stop()


async def run(directory: Path, settings: Settings, listen: Listen) -> int:
    """From an empty or used data directory to a drained broker; the exit code."""
    store = await open_data(directory, settings)
    broker = Broker(store, settings, SystemClock(), listen.origins)
    try:
        with usable(directory):
            store.lay_out_log()
            broker.begin(directory, new_owner_token=listen.new_owner_token)
        await broker.server.listen(listen.host, listen.port, cert=listen.cert, key=listen.key)
        with usable(directory):
            write_private(directory / URL_FILE, broker.server.url + "\n")
        _log_start(broker, directory, listen)
        await _until_over(broker)
    finally:
        broker.pump.stop()
        with anyio.CancelScope(shield=True):
            await store.close()
    log.info("stopped")
    return 1 if broker.failed.done() else 0


def _log_start(broker: Broker, directory: Path, listen: Listen) -> None:
    what = {"version": __version__, "url": broker.server.url, "data": str(directory.absolute())}
    log.info("started", extra={**what, "settings": broker.settings.changed()})
    if not broker.server.loopback and listen.cert is None:
        log.warning("listening without TLS: tokens and mail can be read on their way")


async def _until_over(broker: Broker) -> None:
    """Everything that runs, runs in here."""
    broker.figures.pulse = pulse = Pulse(asyncio.get_running_loop())
    async with anyio.create_task_group() as tasks:
        await tasks.start(_until_told, broker, tasks.cancel_scope)
        tasks.start_soon(_until_failed, broker, tasks.cancel_scope)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        if (why := announce(f"postroom ready {broker.server.url}")) is not None:
            log.warning("the ready line cannot be written: %s", why)
    pulse.stop()


async def _until_told(
    broker: Broker,
    scope: anyio.CancelScope,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """SIGTERM and SIGINT drain. Another one changes nothing: the end is near anyway."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            break
        log.info("draining", extra={"connections": broker.server.connections})
        await broker.drain()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    scope.cancel()


async def _until_failed(broker: Broker, scope: anyio.CancelScope) -> None:
    """A database that cannot be relied on any more ends the process."""
    fault = await asyncio.shield(broker.failed)
    log.critical("the storage cannot be relied on any more: %s", fault)
    broker.server.close_all(GOING_AWAY, "the broker failed")
    await broker.server.closed(CLOSE_SECONDS)
    scope.cancel()


def serve(directory: Path, settings: Settings, listen: Listen) -> int:
    """Hold the data directory and run the broker on the fastest loop there is."""
    try:
        set_up(sys.stderr, os.environ.get(LOG_LEVEL, "info"))
    except BadLevel as error:
        sys.stderr.write(f"postroom: {LOG_LEVEL}: {error}\n")
        return 2
    try:
        with DirectoryLock(directory, "serve"):
            return anyio.run(
                run,
                directory,
                settings,
                listen,
                backend_options={"use_uvloop": True},
            )
    except (DataDirectoryUnusable, ListenFailed, MigrationRefused) as error:
        sys.stderr.write(f"postroom: {error}\n")
        return 1
