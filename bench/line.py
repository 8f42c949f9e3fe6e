"""One server-side WebSocket of the ceiling's servers: read whole messages, write joined ones.

Owns: the socket over websockets' Sans-I/O layer. Must not know what the messages mean.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol


class Line(asyncio.Protocol):
    """A connection; subclasses say what a message does."""

    def __init__(self) -> None:
        self._socket = ServerProtocol(max_size=2**20)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand over each whole message; the bench's clients don't fragment."""
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Frame):
                if event.opcode is Opcode.TEXT and event.fin:
                    self.message(event.data)
            elif isinstance(event, Request):
                self._socket.send_response(self._socket.accept(event))
        if self._socket.writes:
            self.drain()
        if self._socket.close_sent is not None and self._transport is not None:
            self._transport.close()

    def message(self, data: bytes | bytearray | memoryview) -> None:
        """One whole text message has come."""
        raise NotImplementedError

    def put(self, data: bytes) -> None:
        """Queue a text message; `drain` lets it leave."""
        if self._socket.state is OPEN:
            self._socket.send_text(data)

    def drain(self) -> None:
        """One write for all that is queued."""
        assert self._transport is not None
        self._transport.write(b"".join(self._socket.data_to_send()))


async def serve(make: Callable[[], Line]) -> None:
    """Listen on a free port, say so as the broker does, and serve until killed."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_stop)
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"postroom ready ws://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()
    await server.serve_forever()


def _stop(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A server of the bench that met an error must not go on giving figures."""
    loop.default_exception_handler(context)
    loop.stop()
