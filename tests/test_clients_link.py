"""A link's upgrade, and the first frames behind it, however their bytes come."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1

import pytest
from websockets.frames import Frame, Opcode

from clients.errors import Unreachable
from clients.link import Link, Lost, address

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Script(asyncio.Transport):
    """A socket to nobody: what is written is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


class Heard:
    """The messages and the end of a link."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def received(self, data: bytes) -> None:
        self.messages.append(data)

    def lost(self, link: Link, lost: Lost) -> None:
        raise AssertionError(f"{link} {lost}")


def begun() -> tuple[Link, Heard, Script]:
    """A link that has asked for the upgrade."""
    heard, script = Heard(), Script()
    link = Link(address("ws://127.0.0.1:7450"), heard)
    link.connection_made(script)
    return link, heard, script


def agreed(script: Script) -> bytes:
    """The answer that it waits for."""
    lines = script.written.lower().split(b"\r\n")
    at = next(n for n, line in enumerate(lines) if line.startswith(b"sec-websocket-key:"))
    key = script.written.split(b"\r\n")[at].split(b":")[1].strip()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % b64encode(sha1(key + MAGIC).digest())  # noqa: S324 - the protocol's
    )


def text(payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(Opcode.TEXT, payload, fin=fin).serialize(mask=False)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000])
async def test_the_upgrade_and_what_follows_it_in_pieces(step: int) -> None:
    link, heard, script = begun()
    data = agreed(script) + text(b"first") + text(b"x" * 300) + text(b"last")
    for at in range(0, len(data), step):
        link.data_received(data[at : at + step])
    await link.opened
    assert heard.messages == [b"first", b"x" * 300, b"last"]


async def test_fragments_with_a_ping_between_them() -> None:
    link, heard, script = begun()
    link.data_received(agreed(script))
    before = len(script.written)
    end = Frame(Opcode.CONT, b"lo").serialize(mask=False)
    link.data_received(text(b"hel", fin=False) + b"\x89\x00" + end + text(b"whole"))
    assert heard.messages == [b"hello", b"whole"]
    assert script.written[before] == 0x8A, "the ping is answered"


async def test_what_comes_behind_a_close_counts_for_nothing() -> None:
    link, heard, script = begun()
    close = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)
    link.data_received(agreed(script) + close + text(b"late"))
    assert heard.messages == []


async def test_what_was_under_way_at_our_own_close_is_heard() -> None:
    link, heard, script = begun()
    link.data_received(agreed(script))
    link.close()
    link.data_received(text(b"the last answer"))
    assert heard.messages == [b"the last answer"]


async def test_who_closes_deaf_hears_nothing_more() -> None:
    link, heard, script = begun()
    link.data_received(agreed(script))
    link.close(deaf=True)
    end = Frame(Opcode.CONT, b"lo").serialize(mask=False)
    link.data_received(text(b"the last answer") + text(b"hel", fin=False) + end)
    assert heard.messages == []


@pytest.mark.parametrize("step", [1, 1_000])
async def test_a_refused_upgrade_says_why(step: int) -> None:
    link, heard, script = begun()
    data = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\ntoo many\n"
    for at in range(0, len(data), step):
        link.data_received(data[at : at + step])
    link.eof_received()
    with pytest.raises(Unreachable, match="503 too many"):
        await link.opened
    assert script.aborted
    assert heard.messages == []


async def test_a_silent_link_is_pinged_before_it_is_given_up() -> None:
    link, _, script = begun()
    link.data_received(agreed(script))
    for answered in (True, False):
        link._look(60.0)  # something has come since the last look
        before = len(script.written)
        link._look(60.0)
        assert script.written[before] == 0x89, "a ping"
        assert not script.aborted
        if answered:
            link.data_received(b"\x8a\x00")
    link._look(60.0)
    assert script.aborted
