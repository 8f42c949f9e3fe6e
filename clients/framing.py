"""WebSocket frames of the usual kind, cut and made without ceremony: whole text messages.

Owns: bytes that do not make a frame yet, and the masks of what is sent. The rules of the protocol
(control frames, fragments, the closing handshake) stay in websockets' `ClientProtocol`, which is
handed every other frame whole; a generic frame object costs more than all else a message costs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform for which websockets has no compiled part
    from websockets.utils import apply_mask

_TEXT: Final = 0x81
"""A final text frame: FIN set, opcode 1."""
_MASKED: Final = 0x80
_medium: Final = Struct("!BBH").pack
_long: Final = Struct("!BBQ").pack

_MASKS_AT_ONCE: Final = 256
"""The system is asked for randomness rarely: each time costs as much as making the frame."""


def _masks() -> Iterator[bytes]:
    """Keys that nobody can guess, as the protocol wants them, four bytes each."""
    while True:
        pool = os.urandom(4 * _MASKS_AT_ONCE)
        for at in range(0, len(pool), 4):
            yield pool[at : at + 4]


_mask: Final = _masks().__next__


def text_frame(payload: bytes) -> bytes:
    """A whole text message as a client sends it."""
    size = len(payload)
    if size < 126:
        head = bytes((_TEXT, _MASKED | size))
    elif size < 65536:
        head = _medium(_TEXT, _MASKED | 126, size)
    else:
        head = _long(_TEXT, _MASKED | 127, size)
    mask = _mask()
    return b"".join((head, mask, apply_mask(payload, mask)))


class Cutter:
    """Cuts what a socket brings, once it is upgraded, into frames."""

    __slots__ = ("_message", "_need", "_other", "_rest")

    def __init__(self, message: Callable[[bytes], None], other: Callable[[bytes], None]) -> None:
        self._message = message
        """Who gets the payload of a whole text message."""
        self._other = other
        """Who gets every other frame, as it stands."""
        self._rest: bytearray | None = None
        self._need = 0  # bytes that make the frame at the front of _rest whole

    def feed(self, data: bytes) -> None:
        """Hand over every whole frame, and keep what is left."""
        rest = self._rest
        if rest is None:
            self._cut(data)
            return
        rest += data
        if len(rest) >= self._need:
            self._rest = None
            self._cut(bytes(rest))

    def _cut(self, data: bytes) -> None:
        size = len(data)
        at = need = 0
        while size - at > 1:
            length = data[at + 1]
            start = at + 2
            if length > 125:
                if length & _MASKED:  # not what a broker sends: let the protocol say so
                    self._other(data[at:])
                    return
                start += 2 if length == 126 else 8
                if size < start:
                    need = start - at
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if size < end:
                need = end - at
                break
            if data[at] == _TEXT:
                self._message(data[start:end])
            else:
                self._other(data[at:end])
            at = end
        if at < size:
            self._rest = bytearray(data[at:])
            self._need = need
