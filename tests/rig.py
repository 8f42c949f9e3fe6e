"""A whole broker without sockets, on virtual time and a real SQLite file.

`Rig` is the broker, `Peer` one connection to it. Nothing here waits for a clock: `advance` moves
it, and everything that becomes due happens in that call.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from broker.app import Broker
from broker.config import Settings
from broker.core.conversation import Conversation
from broker.core.ports import Greeting
from broker.data import open_data
from broker.store.sqlite import Connector, connect

START = 1_800_000_000_000


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: int = START) -> None:
        self.time = now

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.time / 1000

    def not_before(self, instant: int) -> None:
        self.time = max(self.time, instant)


class FixedChance:
    """Chance without chance: values count up, jitter is the longest."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def secret(self) -> str:
        return f"secret{next(self._numbers)}"

    def label(self) -> str:
        return f"label{next(self._numbers)}"

    def jitter(self) -> float:
        return 1.0


class RecordingLine:
    """A socket that takes everything."""

    def __init__(self) -> None:
        self.batch = False
        self.frames: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.unread: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.paused = False
        self.held = 0
        self.pings = 0

    def send(self, *frames: bytes) -> None:
        self.raw += frames
        self.frames += map(msgspec.json.decode, frames)

    deliver = send

    def waiting(self) -> list[bytes]:
        return self.unread

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def ping(self) -> None:
        self.pings += 1

    def pending(self) -> int:
        return self.held

    def abort(self) -> None:
        self.closed = self.closed or (1006, "aborted")


class RefusedByBroker(Exception):  # noqa: N818 - an answer, not a fault
    """The broker's error answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]
        self.error = error


class Peer:
    """One connection, as a program that speaks the protocol has it."""

    def __init__(self, rig: Rig, line: RecordingLine, conversation: Conversation) -> None:
        self.rig = rig
        self.line = line
        self.conversation = conversation
        self.welcome: dict[str, Any] = {}
        self._ids = itertools.count(1)
        self._seen = 0

    async def ask(self, op: str, **fields: Any) -> Any:
        """Send a request and give its answer; a refusal is raised."""
        answer = await self.answer(op, **fields)
        if "error" in answer:
            raise RefusedByBroker(answer["error"])
        return answer["ok"]

    async def answer(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a request and give its whole reply frame."""
        id = self.post(op, **fields)
        await self.rig.settle()
        return self.reply(id)

    def post(self, op: str, **fields: Any) -> int:
        """Send a request and leave it waiting until the rig settles."""
        id = next(self._ids)
        self.write(msgspec.json.encode({"op": op, "id": id, **fields}))
        return id

    def write(self, data: bytes) -> None:
        """Send these bytes as one WebSocket text message."""
        self.conversation.alive()
        self.conversation.received(data, binary=False)

    def reply(self, id: int) -> dict[str, Any]:
        """The reply to a request that was posted."""
        found = [frame for frame in self.line.frames if frame.get("re") == id]
        assert len(found) == 1, f"{len(found)} replies to {id}: {self.line.frames}"
        return found[0]

    async def refused(self, code: str, op: str, **fields: Any) -> dict[str, Any]:
        """Send a request that must be refused with this code; the error."""
        answer = await self.answer(op, **fields)
        assert answer.get("error", {}).get("code") == code, answer
        error: dict[str, Any] = answer["error"]
        return error

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The events since the last look, all or of one kind."""
        new = self.line.frames[self._seen :]
        self._seen = len(self.line.frames)
        return [f for f in new if "ev" in f and kind in (None, f["ev"])]

    def mail(self) -> list[dict[str, Any]]:
        """The deliveries since the last look."""
        return self.events("mail.deliver")

    async def lose(self) -> None:
        """The connection breaks."""
        self.conversation.lost()
        await self.rig.settle()


class Rig:
    """A broker on virtual time."""

    def __init__(self, directory: Path, settings: Settings, connector: Connector) -> None:
        self.directory = directory
        self.settings = settings
        self.clock = VirtualClock()
        self.chance = FixedChance()
        self.connector = connector
        self.broker: Broker
        self.tokens: dict[str, str] = {}

    async def start(self) -> None:
        """Open the data directory, as the program does at its start."""
        store = await open_data(self.directory, self.settings, connector=self.connector)
        self.broker = Broker(store, self.settings, self.clock, chance=self.chance, pump=Idle())
        self.broker.begin(self.directory)
        self.tokens["owner"] = (self.directory / "owner.token").read_text().strip()

    async def crash(self) -> None:
        """End as by kill -9: nothing is said to anybody, nothing more is written."""
        await self.broker.store.close()

    async def restart(self) -> None:
        """A crash and a new start."""
        await self.crash()
        await self.start()

    async def settle(self) -> None:
        """Let everything happen that waits or is due now."""
        executor = self.broker.executor
        while True:
            if executor.due() <= self.clock.now() or not executor.idle:
                executor.run()
                if executor.looks or executor.committing:
                    await asyncio.sleep(0)
                elif executor.fault is not None and executor.due() > self.clock.now():
                    return
                continue
            return

    async def advance(self, ms: int) -> None:
        """Move the clock, stopping at each instant at which something is due."""
        end = self.clock.time + ms
        while self.broker.executor.due() <= end:
            self.clock.time = max(self.clock.time, self.broker.executor.due())
            await self.settle()
        self.clock.time = end
        await self.settle()

    def connect(self, bearer: str | None = None) -> Peer:
        """A connection that has not said hello."""
        line = RecordingLine()
        greeting = Greeting(bearer, "127.0.0.1:1")
        return Peer(self, line, self.broker.accept(line, greeting))

    async def join(self, member: str = "owner", **hello: Any) -> Peer:
        """A member that has said hello; it is added first if need be."""
        if member not in self.tokens:
            owner = await self.join("owner", observe=True)
            added = await owner.ask("member.add", member=member)
            self.tokens[member] = added["token"]
            await owner.ask("bye")
        peer = self.connect()
        hello.setdefault("token", self.tokens[member])
        peer.welcome = await peer.ask("hello", member=member, **hello)
        return peer

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What stands in the database, seen by another connection."""
        connection = sqlite3.connect(self.directory / "postroom.db")
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()


class Idle:
    """A pump that never runs by itself: the test runs the executor."""

    def schedule(self) -> None:
        """Something waits."""

    def arm(self) -> None:
        """Something is due."""

    def stop(self) -> None:
        """Nothing is due any more."""


@asynccontextmanager
async def rig(
    directory: Path, connector: Connector = connect, **settings: Any
) -> AsyncIterator[Rig]:
    """A started broker with settings such as `mail__lease_ms=5000`."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    one = Rig(directory, Settings.of(named), connector)
    await one.start()
    try:
        yield one
    finally:
        await one.crash()


Opened = Callable[..., Any]
