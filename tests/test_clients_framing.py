"""Frames cut and made by hand, held to websockets' own idea of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from clients.framing import Cutter, text_frame

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


def served(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame as a server sends it."""
    return Frame(opcode, payload, fin=fin).serialize(mask=False)


class Taken:
    """What a cutter handed over, in order."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.others: list[bytes] = []
        self.order: list[str] = []
        self.cutter = Cutter(self._message, self._other)

    def _message(self, data: bytes) -> None:
        self.order.append("message")
        self.messages.append(data)

    def _other(self, data: bytes) -> None:
        self.order.append("other")
        self.others.append(data)


@pytest.mark.parametrize("size", SIZES)
def test_a_server_reads_what_is_made(size: int) -> None:
    payload = b"x" * size
    socket = ServerProtocol(state=State.OPEN, max_size=None)
    socket.receive_data(text_frame(payload) + text_frame(b"next"))
    first, second = socket.events_received()
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert (first.opcode, first.fin, bytes(first.data)) == (Opcode.TEXT, True, payload)
    assert bytes(second.data) == b"next"


def test_no_mask_is_used_twice_in_a_row() -> None:
    masks = {text_frame(b"")[2:6] for _ in range(1_000)}
    assert len(masks) > 990


@pytest.mark.parametrize("size", SIZES)
def test_whole_messages_are_cut_out(size: int) -> None:
    taken = Taken()
    payload = b"y" * size
    taken.cutter.feed(served(Opcode.TEXT, payload) + served(Opcode.TEXT, b"next"))
    assert taken.messages == [payload, b"next"]
    assert taken.others == []


def test_other_frames_are_passed_on_whole_and_in_their_place() -> None:
    taken = Taken()
    ping, part = served(Opcode.PING, b""), served(Opcode.TEXT, b"begin", fin=False)
    rest = served(Opcode.CONT, b"end")
    taken.cutter.feed(ping + served(Opcode.TEXT, b"1") + part + rest)
    assert taken.order == ["other", "message", "other", "other"]
    assert taken.others == [ping, part, rest]


def test_a_masked_frame_is_the_protocols_to_refuse() -> None:
    taken = Taken()
    data = text_frame(b"a server does not mask")
    taken.cutter.feed(data)
    assert taken.messages == []
    assert taken.others == [data]


FRAMES = st.lists(
    st.tuples(st.sampled_from([Opcode.PING, Opcode.CLOSE]), st.sampled_from([0, 2, 125]))
    | st.tuples(st.sampled_from([Opcode.TEXT, Opcode.CONT]), st.sampled_from(SIZES)),
    max_size=6,
)


@given(FRAMES, st.lists(st.integers(0, 70_000), max_size=12))
def test_however_the_bytes_come(frames: list[tuple[Opcode, int]], cuts: list[int]) -> None:
    pieces = [served(opcode, bytes([65 + at]) * size) for at, (opcode, size) in enumerate(frames)]
    data = b"".join(pieces)
    whole, split = Taken(), Taken()
    whole.cutter.feed(data)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        split.cutter.feed(data[start:end])
    assert split.order == whole.order
    assert split.messages == whole.messages
    assert split.others == whole.others
    assert len(whole.order) == len(frames)
