"""Raw WebSocket echo, both ends: what the sockets alone cost. `python -m bench.echo DIR`

Owns: a server that sends back what it gets, and the driver that counts one echo as a whole message.
Must not know frames of the protocol.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

import uvloop
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from bench.case import Job
from bench.line import Line, serve
from bench.traffic import Traffic, now_ns


class Echo(Line):
    """Sends back what it gets, all of one read in one write."""

    def message(self, data: bytes | bytearray | memoryview) -> None:
        """Back it goes, after the whole read was looked at."""
        self.put(bytes(data))


class Caller(asyncio.Protocol):
    """One client: the next message leaves when an earlier one is back."""

    def __init__(self, url: str, index: int, traffic: Traffic) -> None:
        self._index = index
        self._traffic = traffic
        self._socket = ClientProtocol(parse_uri(url))
        self._transport: asyncio.Transport | None = None
        self._leaving = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket.send_request(self._socket.connect())
        self.drain()

    def data_received(self, data: bytes) -> None:
        """Each echo is stored, delivered and acked in one."""
        now = now_ns()
        traffic = self._traffic
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                number = traffic.number(bytes(event.data))
                traffic.arrived(number, now)
                traffic.stored(number, now)
                traffic.settled(number, now)
                if traffic.answered_draws:
                    self.supply(now)
            elif isinstance(event, Response):
                self.opened.set_result(None)
        self.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """During a run nobody may leave."""
        if not self._leaving:
            self._traffic.fail(f"an echo connection was lost ({exc or 'no reason'})")

    def supply(self, now: int) -> bool:
        """Queue the next message, if there is one."""
        number = self._traffic.take(self._index, now)
        if number < 0:
            return False
        self._socket.send_text(self._traffic.body(number))
        return True

    def drain(self) -> None:
        """One write for all that is queued."""
        assert self._transport is not None
        self._transport.write(b"".join(self._socket.data_to_send()))

    def leave(self) -> None:
        """Drop the connection; the run is over."""
        self._leaving = True
        if self._transport is not None:
            self._transport.abort()


class Driver:
    """Runs a case over echo connections."""

    def __init__(self, job: Job, traffic: Traffic) -> None:
        self._job = job
        self._traffic = traffic
        self._callers: list[Caller] = []

    async def open(self) -> None:
        """Connect everybody, one after the other."""
        url = parse_uri(self._job.url)
        for index in range(self._job.case.senders):
            caller = Caller(self._job.url, index, self._traffic)
            loop = asyncio.get_running_loop()
            await loop.create_connection(partial(_same, caller), url.host, url.port)
            await caller.opened
            self._callers.append(caller)

    def start(self) -> None:
        """Fill every window."""
        for caller in self._callers:
            for _ in range(self._job.case.window):
                caller.supply(now_ns())
            caller.drain()

    def send(self, sender: int, due: int) -> None:
        """One message that was due at an instant."""
        self._callers[sender].supply(due)
        self._callers[sender].drain()

    async def close(self) -> list[str]:
        """Leave without ceremony."""
        for caller in self._callers:
            caller.leave()
        return []


def _same(caller: Caller) -> Caller:
    return caller


if __name__ == "__main__":
    uvloop.run(serve(Echo))
