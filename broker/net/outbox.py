"""What waits to leave on one connection, and how it is packed into WebSocket messages.

Owns: the lanes, their byte count, and the packing of JSON frames into WebSocket messages.
Must not know: transports, closing, what a frame means.

Headers are built here by hand: a server's frame is two to ten bytes in front of the payload, and
a generic frame object costs several times what the rest of the way out costs.
"""

from __future__ import annotations

from struct import Struct

_TEXT = 0x81
"""A final text frame: FIN set, opcode 1."""

_SHORT = [bytes((_TEXT, size)) for size in range(126)]
"""Every header of a payload below 126 bytes."""

_medium = Struct("!BBH").pack
_long = Struct("!BBQ").pack

PING = b"\x89\x00"
"""A ping without payload: any pong, like any other byte, proves life."""


def header(size: int) -> bytes:
    """The header of an unmasked, unfragmented text message of `size` bytes."""
    if size < 126:
        return _SHORT[size]
    if size < 65536:
        return _medium(_TEXT, 126, size)
    return _long(_TEXT, 127, size)


def pack(frames: list[bytes], *, batch: bool, limit: int) -> tuple[bytes, int]:
    """JSON frames as bytes for the socket, and the number of WebSocket messages they make.

    With `batch`, frames are joined into JSON arrays of at most `limit` bytes each; a frame that is
    alone in its array leaves as itself.
    """
    if not batch or len(frames) == 1:
        parts: list[bytes] = []
        for frame in frames:
            parts.append(header(len(frame)))
            parts.append(frame)
        return b"".join(parts), len(frames)
    parts = []
    messages = 0
    for first, last, size in _groups(frames, limit):
        messages += 1
        parts.append(header(size))
        if last - first == 1:
            parts.append(frames[first])
        else:
            parts.append(b"[%b]" % b",".join(frames[first:last]))
    return b"".join(parts), messages


def _groups(frames: list[bytes], limit: int) -> list[tuple[int, int, int]]:
    """Neighbours that share a message: (first, one past the last, size of the payload)."""
    total = sum(map(len, frames)) + len(frames) + 1
    if total <= limit:
        return [(0, len(frames), total)]
    groups: list[tuple[int, int, int]] = []
    first = 0
    size = 2 + len(frames[0])
    for index in range(1, len(frames)):
        length = len(frames[index])
        if size + 1 + length > limit:
            groups.append((first, index, size if index - first > 1 else size - 2))
            first, size = index, 2 + length
        else:
            size += 1 + length
    groups.append((first, len(frames), size if len(frames) - first > 1 else size - 2))
    return groups


class Outbox:
    """The lanes of one connection: raw control bytes, then replies and events, then deliveries."""

    __slots__ = ("control", "deliveries", "replies", "size")

    def __init__(self) -> None:
        self.control = b""
        self.replies: list[bytes] = []
        self.deliveries: list[bytes] = []
        self.size = 0
        """Payload bytes of all lanes; the headers are not worth counting."""

    def add_control(self, data: bytes, *, only: bool) -> None:
        """Queue whole WebSocket control frames; `only` forgets those that still wait.

        A peer that pings without reading would otherwise make us hoard pongs; answering the last
        ping is enough.
        """
        if only:
            self.size -= len(self.control)
            self.control = b""
        self.control += data
        self.size += len(data)

    def clear(self) -> None:
        self.control = b""
        self.replies.clear()
        self.deliveries.clear()
        self.size = 0

    def take(self, room: int, *, batch: bool, limit: int) -> tuple[bytes, int]:
        """Bytes for one write, most urgent first, and the count of WebSocket messages in them.

        Ends after the frame that reaches `room`, so that what becomes urgent while a slow peer
        reads can still go before the deliveries that stay here.
        """
        control = self.control
        if self.size <= room:
            frames = self.replies + self.deliveries
            self.replies.clear()
            self.deliveries.clear()
            self.size = 0
        else:
            room -= len(control)
            frames, taken = _cut(self.replies, room)
            if not self.replies:
                more, size = _cut(self.deliveries, room - taken)
                frames += more
                taken += size
            self.size -= taken + len(control)
        self.control = b""
        if not frames:
            return control, 0
        data, messages = pack(frames, batch=batch, limit=limit)
        return (control + data if control else data), messages


def _cut(lane: list[bytes], room: int) -> tuple[list[bytes], int]:
    """Take frames off the front of a lane until `room` bytes are reached."""
    taken = 0
    count = 0
    while taken < room and count < len(lane):
        taken += len(lane[count])
        count += 1
    frames = lane[:count]
    del lane[:count]
    return frames, taken
