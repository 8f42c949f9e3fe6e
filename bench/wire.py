"""The client end of one WebSocket: whole text messages in, frames joined into one write out.

Owns: the upgrade, fragments, the array of frames that leaves once per loop turn. Must not know what
a frame means.
"""

from __future__ import annotations

import asyncio
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from bench.traffic import RunFailed, now_ns

FRAMES_PER_WRITE = 500
"""Keeps an array of sends with ordinary bodies far below `limits.frame`."""


class Wire(asyncio.Protocol):
    """A connection; subclasses say what a message means and what a fault does."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._socket = ClientProtocol(parse_uri(url), max_size=None)
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._fragments: list[bytes] = []
        self._leaving = False

    async def connect(self, url: str) -> None:
        """Open the socket and upgrade it."""
        where = parse_uri(url)
        await self._loop.create_connection(lambda: self, where.host, where.port)
        await self.opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket.send_request(self._socket.connect())
        self._drain()

    def data_received(self, data: bytes) -> None:
        """Everything that one read brought is timed as one instant."""
        now = now_ns()
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Frame):
                self._frame(event, now)
            elif isinstance(event, Response):
                self._upgraded()
        if self._socket.writes:
            self._drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """During a run nobody may leave."""
        if not self._leaving:
            close = self._socket.close_rcvd
            self.fail(f"was disconnected ({close or exc or 'no reason'})")

    def message(self, data: bytes, now: int) -> None:
        """One whole text message has come."""
        raise NotImplementedError

    def fail(self, fault: str) -> None:
        """The connection is of no use any more."""
        if not self.opened.done():
            self.opened.set_exception(RunFailed(fault))

    def queue(self, frame: bytes) -> None:
        """Send a frame, together with all others of this loop turn."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(frame)

    def leave(self) -> None:
        """Drop the connection."""
        self._leaving = True
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._socket.state is not OPEN:
            return
        for frames in _portions(waiting):
            self._socket.send_text(b"[%b]" % b",".join(frames) if len(frames) > 1 else frames[0])
        self._drain()

    def _drain(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._socket.data_to_send()))

    def _upgraded(self) -> None:
        if self._socket.handshake_exc is not None:
            self.fail(f"got no WebSocket: {self._socket.handshake_exc}")
        elif not self.opened.done():
            self.opened.set_result(None)

    def _frame(self, frame: Frame, now: int) -> None:
        if frame.opcode is Opcode.TEXT and frame.fin:
            self.message(bytes(frame.data), now)
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                whole, self._fragments = b"".join(self._fragments), []
                self.message(whole, now)


def _portions(frames: list[bytes]) -> list[list[bytes]]:
    if len(frames) <= FRAMES_PER_WRITE:
        return [frames]
    starts = range(0, len(frames), FRAMES_PER_WRITE)
    return [frames[start : start + FRAMES_PER_WRITE] for start in starts]
