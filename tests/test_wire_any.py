"""What holds for any message that a peer may send."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from wire_frames import ack, one, send
from wire_json import SPACE, VALUE, nested, steady

from broker.wire import OPERATIONS, Bad, NotProtocol, NotUtf8, Request, decode

WHOLE = st.sampled_from(
    [
        b'{"op":"bye"}',
        b'{"op":"bye","id":1,"final":true}',
        send(b'{"a":[1,2]}'),
        send(b'"[\\"\xc3\xa9"'),
        ack(b'{"to":["a","b"],"body":null,"meta":{"a":{}}}'),
        b'{"op":"mail.nack","id":7,"delivery":"d","claim":"c","reason":"because"}',
    ]
)
BROKEN = st.sampled_from(
    [
        b"{}",
        b"[]",
        b'{"op":"no"}',
        send(rb'["\ud800"]'),
        send(nested(600)),
        send(b'"' + b"[" * 600 + b'"'),
        send(more=b',"x":1'),
        ack(b'{"to":"a","body":' + nested(2_000) + b"}"),
        b'{"op":"bye","id":[]}',
    ]
)
FRAME = st.one_of(WHOLE, BROKEN, VALUE)


@steady
@given(st.lists(FRAME, min_size=1, max_size=6), SPACE, SPACE)
def test_an_array_is_each_frame_alone(frames: list[bytes], before: bytes, after: bytes) -> None:
    data = before + b"[" + (after + b"," + before).join(frames) + b"]" + after
    # An array alone is its own frames, in an array it is one bad frame.
    assume(not any(frame.startswith(b"[") for frame in frames))
    assert decode(data) == [one(before + frame + after) for frame in frames]


def harmless(data: bytes) -> list[Request | Bad]:
    """Decode anything: it is refused as the protocol says, or every frame has a result."""
    try:
        results = decode(data)
    except (NotUtf8, NotProtocol):
        return []
    assert results
    for result in results:
        assert isinstance(result, Bad) or type(result) in OPERATIONS.values()
        if isinstance(result, Bad):
            assert result.error.code in {"bad_frame", "unknown_op", "bad_request"}
    return results


@steady
@given(st.binary())
def test_any_bytes_are_harmless(data: bytes) -> None:
    harmless(data)


@steady
@given(st.text(alphabet='[]{}",:\\ud8e0\n 1ntrueopbye.', max_size=60).map(str.encode))
def test_any_text_like_json_is_harmless(data: bytes) -> None:
    harmless(data)
    harmless(b'{"op":"mail.send","to":"a","body":' + data + b"}")


@steady
@given(FRAME, st.data())
def test_any_damage_is_harmless(frame: bytes, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(frame)))
    end = data.draw(st.integers(begin, min(len(frame), begin + 8)))
    patch = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([rb"\ud800", b"[", b'"'])))
    damaged = frame[:begin] + patch + frame[end:]
    harmless(damaged)
    harmless(b'[{"op":"bye"},' + damaged + b"]")


@steady
@given(VALUE)
def test_what_is_json_is_the_protocol(value: bytes) -> None:
    assert harmless(value)


@steady
@given(st.text(alphabet='[]{}",:\\ud8e0\n 1ntrue.', max_size=20))
def test_a_body_is_taken_just_if_it_is_json(body: str) -> None:
    # Python's reader is more lenient in three things, which are therefore left out.
    def lenient(name: str) -> Any:
        raise ValueError(name)

    try:
        value = json.loads(body, parse_constant=lenient)
    except ValueError:
        expected = "not JSON"
    else:
        try:
            json.dumps(value, ensure_ascii=False).encode()
            expected = "taken"
        except UnicodeEncodeError:
            expected = "half a pair"
    try:
        result = one(send(body.encode()))
    except NotProtocol:
        assert expected == "not JSON"
        return
    if isinstance(result, Bad):
        # What is more than one value may end the body and go on with fields.
        assert expected == "half a pair" or (expected == "not JSON" and "," in body)
    else:
        assert expected == "taken" or (expected == "not JSON" and "," in body)
