"""What the tests of net share: a recording conversation, a served port, raw peers."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode

from broker.core.ports import Greeting, Line
from broker.net.hub import Hooks, Limits
from broker.net.server import Server

LIMITS = Limits(
    frame=65_536, outbox=1_048_576, connections=100, unauthenticated=100, hello_ms=30_000
)
UPGRADE = {
    "Host": "broker.test",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
}


class Recorder:
    """A conversation that writes down what it is told, and says what the test gives it."""

    def __init__(self, line: Line, greeting: Greeting) -> None:
        self.line = line
        self.greeting = greeting
        self.messages: list[bytes] = []
        self.binary: list[bool] = []
        self.lives = 0
        self.writables = 0
        self.losses = 0
        self.ticks: list[float] = []
        self.next_tick = inf
        self.on_message: Callable[[Recorder, bytes], None] = lambda talk, data: None
        self.on_tick: Callable[[Recorder], None] = lambda talk: None
        self._changed = asyncio.Event()

    def received(self, data: bytes, *, binary: bool) -> None:
        assert type(data) is bytes
        assert self.losses == 0
        self.messages.append(data)
        self.binary.append(binary)
        self.on_message(self, data)
        self._changed.set()

    def alive(self) -> None:
        self.lives += 1

    def writable(self) -> None:
        self.writables += 1
        self._changed.set()

    def lost(self) -> None:
        self.losses += 1
        self._changed.set()

    def tick(self, now: float) -> float:
        self.ticks.append(now)
        self.on_tick(self)
        self._changed.set()
        return self.next_tick

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something has happened that makes this true."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()


@dataclass
class App:
    """The application as net's hooks see it; a test changes the answers."""

    talks: list[Recorder] = field(default_factory=list)
    prepare: Callable[[Recorder], None] = lambda talk: None
    strangers: int = 0
    ready: tuple[bool, str] = (True, "ready\n")
    metrics: tuple[int, bytes, str] = (200, b"a_total 1\n", "text/plain; version=0.0.4")
    asked: list[str | None] = field(default_factory=list)

    def accept(self, line: Line, greeting: Greeting) -> Recorder:
        talk = Recorder(line, greeting)
        self.prepare(talk)
        self.talks.append(talk)
        return talk

    def scrape(self, bearer: str | None) -> tuple[int, bytes, str]:
        self.asked.append(bearer)
        return self.metrics

    @property
    def hooks(self) -> Hooks:
        return Hooks(self.accept, lambda: self.strangers, lambda: self.ready, self.scrape)


@asynccontextmanager
async def serving(
    app: App,
    *,
    host: str = "127.0.0.1",
    origins: tuple[str, ...] = (),
    cert: Path | None = None,
    key: Path | None = None,
    **limits: int,
) -> AsyncIterator[Server]:
    """A server on a free port; no connection is left behind."""
    server = Server(replace(LIMITS, **limits), app.hooks, origins=origins)
    await server.listen(host, 0, cert=cert, key=key)
    try:
        yield server
    finally:
        server.stop_accepting()
        await server.closed(0)


class Raw:
    """A peer that says what it likes, byte by byte."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def say(self, text: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> None:
        self.send(masked(text, opcode, fin=fin))

    def stop(self) -> None:
        """Read no more."""
        cast("asyncio.ReadTransport", self.writer.transport).pause_reading()

    def go_on(self) -> None:
        """Read on."""
        cast("asyncio.ReadTransport", self.writer.transport).resume_reading()

    async def response(self, *, body: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and the body that Content-Length promises."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        lines = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in lines}
        size = int(headers["content-length"]) if body else 0
        return int(head[0].split()[1]), headers, await self.reader.readexactly(size)

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, which must be final and unmasked."""
        first, size = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        """The code of the close frame that comes next."""
        opcode, payload = await self.frame()
        assert opcode == Opcode.CLOSE
        return int.from_bytes(payload[:2], "big")

    async def end(self) -> bytes:
        """Whatever still comes, until the server has closed or dropped the connection."""
        rest = b""
        try:
            while more := await self.reader.read(65_536):
                rest += more
        except ConnectionResetError:
            return rest
        return rest


def masked(payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, payload, fin).serialize(mask=True)


def request(
    path: str, headers: Mapping[str, str], *, method: str = "GET", version: str = "1.1"
) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode()


@asynccontextmanager
async def connected(server: Server, context: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """A TCP connection on which nothing has been said."""
    url = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def upgraded(server: Server, **headers: str) -> AsyncIterator[Raw]:
    """A raw WebSocket."""
    async with connected(server) as raw:
        raw.send(request("/v1", {**UPGRADE, **headers}))
        status, _, _ = await raw.response()
        assert status == 101
        yield raw
