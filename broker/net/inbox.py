"""What comes in on one connection: bytes cut into frames, frames joined into whole messages.

Owns: bytes that do not make a frame yet, or wait because the conversation asked for a pause.
The rules of the WebSocket protocol (control frames, fragments, the closing handshake) stay in
websockets' `ServerProtocol`. It is fed whole frames only, so that it always stands between two
frames, and it never sees the plain final text frame of which nearly all traffic consists: that one
is taken apart here, at a sixth of the cost.
Must not know: transports, time, what a message says.
"""

from __future__ import annotations

import logging

from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from broker.core.ports import Talk

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform for which websockets has no compiled part
    from websockets.utils import apply_mask

quiet = logging.getLogger("broker.net.websocket")
quiet.setLevel(logging.WARNING)  # websockets reports every opening and closing at INFO

_TEXT = 0x81
_PONG = 0x8A
_MASKED = 0x80
_KNOWN = frozenset((0, 1, 2, 8, 9, 10))
"""Opcodes; a frame of another one is refused at its header, without waiting for its payload."""

_ODD = 256
"""Unusual frames that are taken in one go. A read can hold forty thousand pings, which would keep
every other connection waiting for a third of a second."""


class Inbox:
    """The incoming half of a connection that has a conversation."""

    __slots__ = (
        "_binary", "_fragments", "_limit", "_need", "_protocol", "_rest", "_words", "deaf",
        "held", "messages", "talk", "weary",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.talk: Talk | None = None
        """Who gets the messages; set before the first bytes."""
        self._limit = limit
        self._protocol: ServerProtocol | None = None
        self._rest: bytearray | None = None
        self._need = 0  # bytes that make the frame at the front of _rest whole
        self._fragments: bytearray | None = None
        self._binary = False  # what the fragments will make
        self._words: list[bytes] = []
        self.held = False
        """The conversation wants no more for now: what comes waits here."""
        self.deaf = False
        """Nothing reaches the conversation any more; only the peer's close still counts."""
        self.weary = False
        """There are more frames here, to be taken in after others had their turn."""
        self.messages = 0
        """Whole messages handed over so far."""

    @property
    def protocol(self) -> ServerProtocol:
        """The state of this WebSocket. Made when first needed: most connections never do."""
        if self._protocol is None:
            self._protocol = ServerProtocol(state=State.OPEN, max_size=self._limit, logger=quiet)
        return self._protocol

    def feed(self, data: bytes) -> list[bytes]:
        """Take in what the socket brought; the answer is what the protocol itself has to say.

        An empty bytes object in it means that the closing handshake is over.
        """
        rest = self._rest
        if rest is None:
            self._cut(data)
        else:
            rest += data
            if len(rest) < self._need or self.held:
                return []
            self._rest = None
            self._cut(rest)
        if not self._words:
            return self._words
        words, self._words = self._words, []
        return words

    def _cut(self, data: bytes | bytearray) -> None:
        """Hand over every whole frame in `data`, and keep what is left of it."""
        talk = self.talk
        assert talk is not None
        limit = self._limit
        size = len(data)
        at = messages = need = odd = 0
        while size - at > 1 and not self.held and odd < _ODD:
            first = data[at]
            length = data[at + 1] - _MASKED
            start = at + 6
            if length > 125:
                start = at + (8 if length == 126 else 14)
                if size < start:
                    need = start - at
                    break
                length = int.from_bytes(data[at + 2 : start - 4], "big")
            if length < 0 or length > limit or (first != _TEXT and first & 0x0F not in _KNOWN):
                self._judge(data[at:])
                at = size
                break
            end = start + length
            if size < end:
                need = end - at
                break
            if first == _TEXT and self._fragments is None and not self.deaf:
                messages += 1
                talk.received(apply_mask(data[start:end], data[start - 4 : start]), binary=False)
            elif first != _PONG or length > 125:
                odd += 1
                self._judge(data[at:end])
            at = end
        self.messages += messages
        self.weary = odd == _ODD and at < size
        if at < size:
            self._rest = bytearray(data[at:])
            self._need = need

    def _judge(self, frame: bytes | bytearray) -> None:
        """Let websockets take a frame that is not the usual one."""
        protocol = self.protocol
        if protocol.eof_sent:
            return
        protocol.receive_data(frame)
        self.deaf = self.deaf or protocol.eof_sent
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._assemble(event)
        self._words += protocol.data_to_send()

    def _assemble(self, frame: Frame) -> None:
        """Join the fragments of a message; the parser has kept the bound on their sum."""
        if frame.opcode not in DATA_OPCODES:
            return
        if frame.opcode is not Opcode.CONT:
            self._binary = frame.opcode is Opcode.BINARY
            if not frame.fin:
                self._fragments = bytearray(frame.data)
                return
        message = bytes(frame.data)
        if self._fragments is not None:
            self._fragments += message
            if not frame.fin:
                return
            message, self._fragments = bytes(self._fragments), None
        if not self.deaf and self.talk is not None:
            self.messages += 1
            self.talk.received(message, binary=self._binary)
