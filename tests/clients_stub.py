"""A broker that says what a test tells it to, on websockets' ordinary server.

Owns: connections, the taking apart of messages, and the answers to hello and bye that most tests
don't care about. Knows nothing of the client that it talks to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from clients import connect

PATIENCE = 5.0
"""Seconds after which a test that waits has failed."""

Frame = dict[str, Any]

ALICE: dict[str, Any] = {"member": "alice", "token": "t"}
"""Who most tests connect as; the stub takes anybody."""


async def until(happened: Callable[[], Any]) -> None:
    """Let the loop run until something is so that nobody is told of."""
    async with asyncio.timeout(PATIENCE):
        while not happened():  # noqa: ASYNC110 - inside the client there is no event to wait for
            await asyncio.sleep(0)


def welcome(**fields: Any) -> Frame:
    """What a hello is answered, unless a test says otherwise."""
    return {
        "presence": "p1",
        "mesh": "default",
        "member": "alice",
        "address": "alice/s1",
        "session": "s1",
        "role": "session",
        "resumed": False,
        "resume": "r1",
        "lease_ms": 90_000,
        "limits": {"body": 262_144, "frame": 1_048_576},
        "broker": {"version": "0", "node": "n"},
        "now_at": 1,
        **fields,
    }


def delivery(number: int = 1, body: Any = None, **fields: Any) -> Frame:
    """A delivery as the broker pushes it."""
    return {
        "ev": "mail.deliver",
        "delivery": f"d{number}",
        "claim": f"c{number}",
        "message": f"m{number}",
        "seq": 2 * number,
        "from": "bob",
        "to": "alice",
        "mailbox": "alice",
        "kind": "message",
        "priority": 50,
        "body": body,
        "meta": None,
        "reply_to": None,
        "sent_at": 1,
        "attempt": 1,
        "claims": 1,
        "max_attempts": 5,
        "lease_ms": 30_000,
        "claim_expires_at": 30_001,
        "preempt": False,
        **fields,
    }


def sent(message: str = "m1", **fields: Any) -> Frame:
    """What a send is answered."""
    copy = {
        "delivery": "d1",
        "to": "bob",
        "state": "claimed",
        "queued": False,
        "depth": 0,
        "transport": "online",
    }
    return {
        "message": message,
        "seq": 1,
        "total": 1,
        "deliveries": [copy],
        "duplicate": False,
        **fields,
    }


ACKED: Frame = {"state": "acked", "outputs": [], "duplicate": False}
NACKED: Frame = {"state": "queued", "failures": 1, "ready_at": 1}


def extended(lease_ms: int = 30_000) -> Frame:
    """What an extend is answered."""
    return {"lease_ms": lease_ms, "claim_expires_at": 1}


class Line:
    """One connection, from the broker's side."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.messages: list[str] = []
        self.hello: Frame = {}
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.gone = asyncio.Event()

    def take(self, message: str) -> list[Frame]:
        self.messages.append(message)
        found = json.loads(message)
        return found if isinstance(found, list) else [found]

    def keep(self, frame: Frame) -> None:
        self._frames.put_nowait(frame)

    async def request(self, op: str | None = None) -> Frame:
        """The next request, which is of this operation."""
        async with asyncio.timeout(PATIENCE):
            frame = await self._frames.get()
        assert op is None or frame["op"] == op, frame
        return frame

    def idle(self) -> bool:
        """Whether every request so far was looked at."""
        return self._frames.empty()

    async def say(self, *frames: Frame) -> None:
        """Send frames, several as one array."""
        text = json.dumps(frames[0] if len(frames) == 1 else frames)
        await self.socket.send(text)

    async def ok(self, request: Frame, answer: Frame | None = None) -> None:
        """Do a request."""
        await self.say({"re": request["id"], "ok": answer or {}})

    async def answer(self, op: str, answer: Frame | None = None) -> Frame:
        """Do the next request, which is of this operation."""
        request = await self.request(op)
        await self.ok(request, answer)
        return request

    async def refuse(self, request: Frame, code: str, **fields: Any) -> None:
        """Refuse a request."""
        error = {"code": code, "message": "no", "retryable": False, **fields}
        await self.say({"re": request["id"], "error": error})

    async def close(self, code: int, reason: str = "") -> None:
        """Close in order."""
        await self.socket.close(code, reason)

    async def drop(self) -> None:
        """Lose the connection."""
        self.socket.transport.abort()
        await self.gone.wait()


Greet = Callable[[Line], Frame | None]


class Stub:
    """The broker: its address, and its connections as they come."""

    def __init__(self) -> None:
        self.url = ""
        self.greet: Greet = lambda line: {"ok": welcome()}
        """What a hello is answered: a reply without its `re`, or None for a script of its own."""
        self.says_bye = True
        self.hellos: list[Frame] = []
        self._lines: asyncio.Queue[Line] = asyncio.Queue()

    async def line(self) -> Line:
        """The next connection that has said hello."""
        async with asyncio.timeout(PATIENCE):
            return await self._lines.get()

    async def run(self, socket: ServerConnection) -> None:
        line = Line(socket)
        try:
            async for message in socket:
                assert isinstance(message, str)
                for frame in line.take(message):
                    await self._frame(line, frame)
        except ConnectionClosed:
            pass
        finally:
            line.gone.set()

    async def _frame(self, line: Line, frame: Frame) -> None:
        if frame["op"] == "hello":
            line.hello = frame
            self.hellos.append(frame)
            reply = self.greet(line)
            if reply is not None:
                await line.say({"re": frame["id"], **reply})
            self._lines.put_nowait(line)
        elif frame["op"] == "bye" and self.says_bye:
            line.keep(frame)
            await line.ok(frame)
            await line.close(1000, "bye")
        else:
            line.keep(frame)


@asynccontextmanager
async def stub() -> AsyncIterator[Stub]:
    """Run a broker of this kind."""
    broker = Stub()
    async with serve(broker.run, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        broker.url = f"ws://127.0.0.1:{port}/v1"
        yield broker


def join(broker: Stub, **given: Any) -> Any:
    """Connect as alice."""
    return connect(broker.url, **{**ALICE, **given})
