"""One WebSocket to the broker: text messages in, frames joined into one write per loop turn out.

Owns: the socket, the upgrade, fragments, silence, the closing handshake. Knows nothing of what the
frames say, and does not come back: who wants another connection makes another link.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN, State
from websockets.uri import WebSocketURI, parse_uri

from clients.faults import Unreachable
from clients.framing import Cutter, text_frame

PATH: Final = "/v1"
OPEN_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
"""How long the other side may take for the closing handshake before the socket is dropped."""
FRAMES_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 256 * 1024
"""One message is decoded in one go; larger ones would hold up what the broker does for others."""
BLANK_LINE: Final = b"\r\n\r\n"
"""It ends the answer to the upgrade; what follows are frames."""
NORMAL: Final = 1000
ABNORMAL: Final = 1006


@dataclass(frozen=True, slots=True)
class Lost:
    """How a link ended."""

    code: int
    reason: str

    def __str__(self) -> str:
        """The words for people."""
        return f"{self.code} {self.reason}".rstrip()


class Receiver(Protocol):
    """Whom a link tells what comes."""

    def received(self, data: bytes) -> None:
        """One text message."""

    def lost(self, link: Link, lost: Lost) -> None:
        """The link is gone: once, and nothing after it."""


class Link(asyncio.Protocol):
    """A connection, from the upgrade to its end."""

    def __init__(self, uri: WebSocketURI, receiver: Receiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        # No limit of our own: what the broker takes from one peer must never cut another one off.
        self._socket = ClientProtocol(uri, max_size=None)
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._cutter = Cutter(self._message, self._judge)
        self._fragments: list[bytes] = []
        self._seam = b""  # the last bytes of the answer to the upgrade, as it stands so far
        self._stuffed = False
        self._deaf = False
        self._heard = True
        self._pinged = False
        self._timer: asyncio.TimerHandle | None = None
        self.frame_limit = BYTES_AT_ONCE
        """Bytes that the broker takes in one message."""
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[Lost] = self._loop.create_future()

    # -- what the application's side asks ---------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Send one frame; those of a loop turn leave together, in order."""
        waiting = self._waiting
        if not waiting and not self._stuffed:
            self._loop.call_soon(self._flush)
        waiting.append(frame)

    def keep_alive(self, seconds: float) -> None:
        """Ping after so long a silence, and give the link up after another one."""
        if self._timer is not None:
            self._timer.cancel()
        self._heard, self._pinged = True, False
        self._timer = self._loop.call_later(seconds, self._look, seconds)

    def close(self, *, deaf: bool = False) -> None:
        """Shake hands and close, or drop a socket that can't. Who is `deaf` hears no more."""
        self._deaf = deaf
        if self._socket.state is not OPEN:
            self.abort()
            return
        self._flush()
        self._socket.send_close(NORMAL)
        self._write()
        self._closing()

    def abort(self) -> None:
        """Drop the socket."""
        if self._transport is not None:
            self._transport.abort()

    # -- what the loop tells ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket.send_request(self._socket.connect())
        self._write()

    def data_received(self, data: bytes) -> None:
        """Take in what came; several messages may have."""
        self._heard = True
        if self._socket.state is State.CONNECTING:
            data = self._upgrade(data)
        if data:
            self._cutter.feed(data)

    def eof_received(self) -> None:
        """Nothing more comes; the loop closes the transport."""
        self._socket.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell how it ended."""
        if self._timer is not None:
            self._timer.cancel()
        close = self._socket.close_rcvd
        lost = Lost(close.code, close.reason) if close else Lost(ABNORMAL, str(exc or ""))
        if not self.opened.done():
            self.opened.set_exception(Unreachable(f"the broker hung up: {lost}"))
        if not self.ended.done():
            self.ended.set_result(lost)
        self._receiver.lost(self, lost)

    def pause_writing(self) -> None:
        """The broker does not read as fast as we write: frames wait here."""
        self._stuffed = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._stuffed = False
        if self._waiting:
            self._flush()

    # -- inside -----------------------------------------------------------------------------------

    def _upgrade(self, data: bytes) -> bytes:
        """Take in the answer to the upgrade, up to the blank line; what is left are frames."""
        seam = self._seam + data
        end = seam.find(BLANK_LINE)
        head = len(data) if end < 0 else end + len(BLANK_LINE) - len(self._seam)
        self._seam = seam[1 - len(BLANK_LINE) :]
        self._judge(data[:head])
        if self._socket.state is OPEN:
            return data[head:]
        if data[head:]:
            self._judge(data[head:])  # the body of a refusal
        return b""

    def _upgraded(self) -> None:
        fault = self._socket.handshake_exc
        if self.opened.done():
            return
        if fault is None:
            self.opened.set_result(None)
            return
        if isinstance(fault, InvalidStatus):
            response = fault.response
            text = bytes(response.body or b"").decode(errors="replace").strip()
            said = f"HTTP {response.status_code} {text or response.reason_phrase}"
        else:
            said = str(fault)
        self.opened.set_exception(Unreachable(f"no WebSocket there: {said}"))
        self.abort()

    def _message(self, data: bytes) -> None:
        if self._socket.close_rcvd is None and not self._deaf:  # behind a close nothing counts
            self._receiver.received(data)

    def _judge(self, data: bytes) -> None:
        """Let websockets take the answer to the upgrade, or a frame that is not the usual one."""
        socket = self._socket
        socket.receive_data(data)
        for event in socket.events_received():
            if isinstance(event, Frame):
                self._fragment(event)
            elif isinstance(event, Response):
                self._upgraded()
        if socket.writes:
            self._write()
        if socket.state is not OPEN:
            self._closing()

    def _fragment(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                whole, self._fragments = b"".join(self._fragments), []
                self._message(whole)

    def _flush(self) -> None:
        if self._stuffed or not self._waiting:
            return
        if self._socket.state is not OPEN:
            return
        waiting, self._waiting = self._waiting, []
        messages = joined(waiting, min(self.frame_limit, BYTES_AT_ONCE))
        data = b"".join(map(text_frame, messages))
        if self._transport is not None:
            self._transport.write(data)

    def _write(self) -> None:
        data = b"".join(self._socket.data_to_send())
        if data and self._transport is not None:
            self._transport.write(data)

    def _closing(self) -> None:
        """The handshake that ends it is under way: see that it ends."""
        if self._socket.state is not State.CONNECTING:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(CLOSE_SECONDS, self.abort)

    def _look(self, seconds: float) -> None:
        """Whether anything has come since the last look. Any bytes are a sign of life."""
        if not self._heard:
            if self._pinged:
                self.abort()
                return
            if self._socket.state is OPEN:
                self._socket.send_ping(b"")
                self._write()
        self._pinged, self._heard = not self._heard, False
        self._timer = self._loop.call_later(seconds, self._look, seconds)


def joined(frames: list[bytes], most: int) -> Iterator[bytes]:
    """Join frames into messages: an array for several, none longer than `most` if it can be."""
    if len(frames) == 1:
        yield frames[0]
        return
    size = sum(map(len, frames)) + len(frames) + 1
    if size <= most and len(frames) <= FRAMES_AT_ONCE:
        yield b"[" + b",".join(frames) + b"]"
        return
    part: list[bytes] = []
    size = 1
    for frame in frames:
        if part and (size + len(frame) + 1 > most or len(part) == FRAMES_AT_ONCE):
            yield from joined(part, size)
            part, size = [], 1
        part.append(frame)
        size += len(frame) + 1
    yield from joined(part, size)


async def open_link(uri: WebSocketURI, receiver: Receiver, tls: ssl.SSLContext | None) -> Link:
    """Connect and upgrade, or say why that can't be done."""
    loop = asyncio.get_running_loop()
    context = (tls or ssl.create_default_context()) if uri.secure else None
    where = f"{uri.host}:{uri.port}"
    link = Link(uri, receiver)
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await loop.create_connection(lambda: link, uri.host, uri.port, ssl=context)
            await link.opened
    except BaseException as fault:
        link.opened.cancel()  # nobody waits for it any more
        link.abort()
        if isinstance(fault, TimeoutError):
            raise Unreachable(f"{where} does not answer within {OPEN_SECONDS:g} s") from None
        if isinstance(fault, OSError):
            raise Unreachable(f"{where}: {fault.strerror or fault}") from fault
        raise
    return link


def address(url: str) -> WebSocketURI:
    """Read the broker's address; without a path it means the one endpoint that there is."""
    try:
        uri = parse_uri(url)
    except InvalidURI as fault:
        raise ValueError(f"{url!r} is no WebSocket address, like ws://127.0.0.1:7450/v1") from fault
    if uri.path in ("", "/"):
        return parse_uri(url.rstrip("/") + PATH)
    return uri
