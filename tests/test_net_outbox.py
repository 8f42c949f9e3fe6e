"""What waits to leave: the lanes in their order, and frames packed into WebSocket messages."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from broker.net.outbox import PING, Outbox, pack

SIZES = [0, 1, 124, 125, 126, 127, 65_535, 65_536, 70_000]
JSON = st.one_of(
    st.integers(), st.text(max_size=40), st.lists(st.integers(), max_size=5), st.none()
).map(lambda value: json.dumps(value).encode())


def unpack(data: bytes) -> list[Frame]:
    """The WebSocket frames in what a server wrote, as websockets reads them."""
    reader = StreamReader()
    reader.feed_data(data)
    frames: list[Frame] = []
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            while True:
                next(parsing)
        except StopIteration as done:
            frames.append(done.value)
    return frames


def texts(data: bytes) -> list[bytes]:
    frames = unpack(data)
    assert all(frame.opcode is Opcode.TEXT and frame.fin for frame in frames)
    return [bytes(frame.data) for frame in frames]


def test_each_size_of_frame_gets_its_header() -> None:
    frames = [b"x" * size for size in SIZES]
    data, messages = pack(frames, batch=False, limit=10)
    assert texts(data) == frames
    assert messages == len(frames)


def test_frames_of_a_batch_share_one_array() -> None:
    data, messages = pack([b"1", b'"two"', b"[3]"], batch=True, limit=100)
    assert texts(data) == [b'[1,"two",[3]]']
    assert messages == 1


def test_a_frame_alone_is_no_array() -> None:
    assert texts(pack([b"1"], batch=True, limit=100)[0]) == [b"1"]


def test_an_array_is_filled_to_the_last_byte_and_not_beyond() -> None:
    frames = [b"1234", b"5678", b"9"]
    assert texts(pack(frames, batch=True, limit=13)[0]) == [b"[1234,5678,9]"]
    assert texts(pack(frames, batch=True, limit=12)[0]) == [b"[1234,5678]", b"9"]


def test_a_frame_over_the_limit_goes_alone() -> None:
    frames = [b"1", b"2" * 50, b"3", b"4"]
    assert texts(pack(frames, batch=True, limit=10)[0]) == [b"1", b"2" * 50, b"[3,4]"]


@given(st.lists(JSON, min_size=1, max_size=30), st.integers(8, 200))
def test_arrays_hold_all_frames_in_order_within_the_limit(frames: list[bytes], limit: int) -> None:
    data, messages = pack(frames, batch=True, limit=limit)
    found: list[object] = []
    payloads = texts(data)
    for payload in payloads:
        alone = payload in frames
        assert alone or len(payload) <= limit
        value = json.loads(payload)
        # A frame that is itself a list leaves as itself when it is alone.
        if alone and json.dumps(value) == json.dumps(json.loads(frames[len(found)])):
            found.append(value)
        else:
            found.extend(value)
    assert found == [json.loads(frame) for frame in frames]
    assert messages == len(payloads)


def filled(replies: list[bytes], deliveries: list[bytes]) -> Outbox:
    outbox = Outbox()
    outbox.replies += replies
    outbox.deliveries += deliveries
    outbox.size = sum(map(len, replies + deliveries))
    return outbox


def test_replies_go_before_deliveries() -> None:
    outbox = filled([b"r1", b"r2"], [b"d1"])
    outbox.add_control(PING, only=False)
    data, messages = outbox.take(1_000, batch=False, limit=1_000)
    assert data.startswith(PING)
    assert texts(data[len(PING) :]) == [b"r1", b"r2", b"d1"]
    assert messages == 3
    assert (outbox.size, outbox.replies, outbox.deliveries, outbox.control) == (0, [], [], b"")


def test_only_deliveries() -> None:
    outbox = filled([], [b"d1", b"d2"])
    assert texts(outbox.take(1_000, batch=False, limit=1_000)[0]) == [b"d1", b"d2"]
    assert outbox.deliveries == []


def test_only_control() -> None:
    outbox = Outbox()
    outbox.add_control(PING, only=False)
    assert outbox.take(1_000, batch=True, limit=1_000) == (PING, 0)
    assert outbox.size == 0


def test_a_small_room_takes_the_front_and_keeps_the_rest() -> None:
    outbox = filled([b"rrrr"], [b"dddd"] * 3)
    assert texts(outbox.take(6, batch=False, limit=100)[0]) == [b"rrrr", b"dddd"]
    assert outbox.size == 8
    outbox.replies.append(b"late")
    outbox.size += 4
    assert texts(outbox.take(4, batch=False, limit=100)[0]) == [b"late"]
    assert texts(outbox.take(100, batch=False, limit=100)[0]) == [b"dddd", b"dddd"]
    assert outbox.size == 0


def test_deliveries_wait_while_replies_are_left() -> None:
    outbox = filled([b"rrrr"] * 3, [b"dddd"])
    assert texts(outbox.take(8, batch=False, limit=100)[0]) == [b"rrrr", b"rrrr"]
    assert outbox.size == 8


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=20),
    st.lists(st.binary(min_size=1, max_size=20), max_size=20),
    st.integers(1, 100),
)
def test_every_room_gives_all_frames_once(
    replies: list[bytes], deliveries: list[bytes], room: int
) -> None:
    outbox = filled(replies, deliveries)
    found: list[bytes] = []
    while outbox.size:
        found += texts(outbox.take(room, batch=False, limit=100)[0])
    assert found == replies + deliveries


def test_of_pongs_that_wait_only_the_last_is_kept() -> None:
    outbox = filled([b"r"], [])
    outbox.add_control(b"one", only=False)
    outbox.add_control(b"two", only=False)
    assert outbox.control == b"onetwo"
    outbox.add_control(b"three", only=True)
    assert outbox.control == b"three"
    assert outbox.size == 6


def test_clearing_forgets_all_lanes() -> None:
    outbox = filled([b"r"], [b"d"])
    outbox.add_control(PING, only=False)
    outbox.clear()
    assert outbox.size == 0
    assert outbox.take(100, batch=False, limit=100) == (b"", 0)
