"""Bytes become messages: however they are cut, whatever stands between them."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from net_peer import Recorder, masked
from websockets.frames import Frame, Opcode

from broker.core.ports import Greeting, Line
from broker.net.inbox import Inbox

LIMIT = 1_000
NOBODY = Greeting(bearer=None, remote="")


def made(limit: int = LIMIT) -> tuple[Inbox, Recorder]:
    inbox = Inbox(limit)
    talk = Recorder(cast("Line", None), NOBODY)
    inbox.talk = talk
    return inbox, talk


def close_code(words: list[bytes]) -> int:
    """The code in a close frame of ours, after which the stream ends."""
    assert words[-1] == b""
    assert words[-2][:1] == b"\x88"
    return int.from_bytes(words[-2][2:4], "big")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, LIMIT])
def test_a_text_message_of_any_size(size: int) -> None:
    inbox, talk = made()
    assert inbox.feed(masked(b"x" * size)) == []
    assert talk.messages == [b"x" * size]
    assert talk.binary == [False]
    assert inbox.messages == 1


def test_a_long_message() -> None:
    inbox, talk = made(limit=200_000)
    message = bytes(range(256)) * 700
    data = masked(message)
    for start in range(0, len(data), 1_400):
        inbox.feed(data[start : start + 1_400])
    assert talk.messages == [message]


FRAMES = st.one_of(
    st.binary(max_size=300).map(lambda data: [(Opcode.TEXT, data, True)]),
    st.binary(max_size=300).map(lambda data: [(Opcode.BINARY, data, True)]),
    st.lists(st.binary(max_size=40), min_size=2, max_size=5).map(
        lambda parts: [
            (Opcode.TEXT if index == 0 else Opcode.CONT, part, index == len(parts) - 1)
            for index, part in enumerate(parts)
        ]
    ),
    st.binary(max_size=125).map(lambda data: [(Opcode.PING, data, True)]),
    st.binary(max_size=125).map(lambda data: [(Opcode.PONG, data, True)]),
)


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(1, 200), min_size=1, max_size=40))
def test_messages_do_not_depend_on_how_bytes_arrive(
    groups: list[list[tuple[Opcode, bytes, bool]]], cuts: list[int]
) -> None:
    frames = [frame for group in groups for frame in group]
    stream = b"".join(masked(data, opcode, fin=fin) for opcode, data, fin in frames)
    expected: list[bytes] = []
    for opcode, data, _ in frames:
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            expected.append(data)
        elif opcode is Opcode.CONT:
            expected[-1] += data
    inbox, talk = made()
    words: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        words += inbox.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert talk.messages == expected
    pongs = [Frame(Opcode.PONG, data) for opcode, data, _ in frames if opcode is Opcode.PING]
    assert words == [pong.serialize(mask=False) for pong in pongs]


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_garbage_never_raises(chunks: list[bytes]) -> None:
    inbox, _ = made()
    for chunk in chunks:
        inbox.feed(chunk)


def test_a_ping_between_fragments_is_answered() -> None:
    inbox, talk = made()
    inbox.feed(masked(b"ab", fin=False))
    assert inbox.feed(masked(b"?", Opcode.PING)) == [b"\x8a\x01?"]
    inbox.feed(masked(b"cd", Opcode.CONT))
    assert talk.messages == [b"abcd"]


def test_a_binary_message_in_fragments_is_binary() -> None:
    inbox, talk = made()
    inbox.feed(masked(b"ab", Opcode.BINARY, fin=False) + masked(b"cd", Opcode.CONT))
    inbox.feed(masked(b"ef"))
    assert talk.messages == [b"abcd", b"ef"]
    assert talk.binary == [True, False]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        pytest.param(masked(b"x" * (LIMIT + 1)), 1009, id="too big"),
        pytest.param(masked(b"x" * (LIMIT + 1))[:8], 1009, id="too big, by its header"),
        pytest.param(
            masked(b"x" * LIMIT, fin=False) + masked(b"x", Opcode.CONT), 1009, id="too big in sum"
        ),
        pytest.param(b"\x81\xff" + b"\xff" * 12, 1009, id="length of 64 bits"),
        pytest.param(Frame(Opcode.TEXT, b"hi").serialize(mask=False), 1002, id="unmasked"),
        pytest.param(b"\x81\x02", 1002, id="unmasked, by its header"),
        pytest.param(b"\x83\x80" + b"mask", 1002, id="unknown opcode"),
        pytest.param(b"\xc1\x80" + b"mask", 1002, id="reserved bit"),
        pytest.param(masked(b"x", Opcode.CONT), 1002, id="continuation of nothing"),
        pytest.param(masked(b"x", fin=False) + masked(b"y"), 1002, id="message in a message"),
        pytest.param(b"\x89\xfe\x00\x7e" + b"mask" + b"x" * 126, 1002, id="long ping"),
        pytest.param(b"\x8a\xfe\x00\x7e" + b"mask" + b"x" * 126, 1002, id="long pong"),
        pytest.param(b"\x09\x80mask", 1002, id="ping in fragments"),
        pytest.param(masked(b"\x03", Opcode.CLOSE), 1002, id="half a close code"),
        pytest.param(masked(b"\x03\xe8\xff", Opcode.CLOSE), 1007, id="close reason not UTF-8"),
    ],
)
def test_what_is_not_websocket_is_refused(stream: bytes, code: int) -> None:
    inbox, talk = made()
    assert close_code(inbox.feed(stream)) == code
    assert inbox.deaf
    inbox.feed(masked(b"more"))
    assert talk.messages == []


def test_nothing_is_heard_after_the_peer_s_close() -> None:
    inbox, talk = made()
    words = inbox.feed(masked(b"a") + masked(b"\x03\xe8", Opcode.CLOSE) + masked(b"b"))
    assert close_code(words) == 1000
    assert talk.messages == [b"a"]


def test_a_deaf_inbox_still_sees_the_peer_s_close() -> None:
    inbox, talk = made()
    inbox.deaf = True
    assert inbox.feed(masked(b"a") + masked(b"b", fin=False) + masked(b"c", Opcode.CONT)) == []
    assert close_code(inbox.feed(masked(b"\x03\xe9", Opcode.CLOSE))) == 1001
    assert talk.messages == []
    assert inbox.messages == 0


def test_a_conversation_that_pauses_gets_the_rest_later() -> None:
    inbox, talk = made()

    def hold(talk: Recorder, data: bytes) -> None:
        inbox.held = data == b"2"

    talk.on_message = hold
    inbox.feed(b"".join(masked(b"%d" % number) for number in range(1, 6)))
    assert talk.messages == [b"1", b"2"]
    six = masked(b"6")
    inbox.feed(six[:5])
    assert talk.messages == [b"1", b"2"]
    inbox.held = False
    inbox.feed(b"")
    assert talk.messages == [b"1", b"2", b"3", b"4", b"5"]
    inbox.feed(six[5:])
    assert talk.messages[5:] == [b"6"]


def test_unusual_frames_are_taken_in_bounded_numbers() -> None:
    inbox, talk = made()
    words = inbox.feed(masked(b"", Opcode.PING) * 1_000 + masked(b"last"))
    rounds = 1
    while inbox.weary:
        assert talk.messages == []
        words += inbox.feed(b"")
        rounds += 1
    assert rounds == 4
    assert len(words) == 1_000
    assert talk.messages == [b"last"]
