"""From a WebSocket message to its requests: what passes, and what ends all."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from msgspec import UNSET, Raw
from wire_frames import ack, code_of, one, refused, send
from wire_json import SPACE, VALUE, nested, steady

from broker.wire import Bad, NotProtocol, NotUtf8, decode
from broker.wire.mail import Ack, Send
from broker.wire.presence import Bye


def test_a_frame_is_one_request() -> None:
    assert decode(b'{"op":"bye","id":7,"final":true}') == [Bye(id=7, final=True)]


def test_an_array_is_its_frames_in_order() -> None:
    assert decode(b'\n [ {"op":"bye","id":1} , {"op":"bye","id":"2"} ] \n') == [
        Bye(id=1),
        Bye(id="2"),
    ]


def test_keys_stand_in_any_order() -> None:
    assert one(b'{"body":[{}],"id":7,"to":"bob","op":"mail.send"}') == Send(
        id=7, to="bob", body=Raw(b"[{}]")
    )


def test_without_an_id_there_is_none() -> None:
    assert one(b'{"op":"bye"}') == Bye()
    assert Bye().id is UNSET


@pytest.mark.parametrize("text", [b"0", b"-9007199254740992", b"9007199254740992", b'""', b'"7"'])
def test_usable_ids(text: bytes) -> None:
    request = one(b'{"op":"bye","id":' + text + b"}")
    assert request == Bye(id=json.loads(text))


@steady
@given(VALUE, SPACE, SPACE)
@example(b'{"a":1,"a":2}', b" ", b" ")
@example(b"123456789012345678901234567890.0e+99999", b"", b"")
@example(rb'"\ud83d\ude00\u0041\/"', b"", b"")
def test_a_body_passes_as_it_stands(body: bytes, before: bytes, after: bytes) -> None:
    request = one(send(before + body + after))
    assert isinstance(request, Send)
    assert bytes(request.body) == body
    request = one(ack(b'{"to":"bob","body":' + before + body + after + b"}"))
    assert isinstance(request, Ack)
    assert bytes(request.outputs[0].body) == body


@pytest.mark.parametrize(
    ("op", "field"),
    [
        ('"delegation.open","callee":"bob"', "task"),
        ('"delegation.update","delegation":"d","status":"completed"', "result"),
        ('"dispatch.consume","dispatch":"d","lease_token":"t"', "outcome"),
        (
            '"dispatch.create","agent_type":"a","dag_task_id":"b","parent_session_id":"c"'
            ',"prompt":"p"',
            "context",
        ),
    ],
)
def test_every_body_is_held_to_its_bounds(op: str, field: str) -> None:
    def frame(value: bytes) -> bytes:
        return f'{{"op":{op},"id":7,"{field}":'.encode() + value + b"}"

    request = one(frame(nested(512)))
    assert bytes(getattr(request, field)) == nested(512)
    null = one(frame(b"null"))
    assert bytes(getattr(null, field)) == b"null"
    for value in (nested(513), nested(600), nested(100_000), rb'{"a":"\ud800"}'):
        bad = refused(frame(value))
        assert (bad.id, bad.error.code) == (7, "bad_request")
        assert f"`{field}`" in bad.error.message


def test_flat_bodies_may_have_any_number_of_brackets() -> None:
    body = b"[" + b",".join([b'{"a":["]","}"]}'] * 2_000) + b"]"
    assert one(send(body)) == Send(id=7, to="bob", body=Raw(body))


@pytest.mark.parametrize("depth", [513, 600, 2_000, 100_000])
def test_a_body_too_deep_fails_alone(depth: int) -> None:
    deep, fine = nested(depth), nested(512)
    assert one(send(fine)) == Send(id=7, to="bob", body=Raw(fine))
    for results in (decode(send(deep)), decode(b"[" + send(deep) + b',{"op":"bye"}]')):
        bad = results[0]
        assert isinstance(bad, Bad)
        assert (bad.id, bad.op, bad.error.code) == (7, "mail.send", "bad_request")
        assert "`body`" in bad.error.message
        assert results[1:] in ([], [Bye()])
    bad = refused(ack(b'{"to":"bob","body":1},{"to":"bob","body":' + deep + b"}"))
    assert bad.error.code == "bad_request"
    assert "`outputs[1].body`" in bad.error.message


def test_a_body_in_an_unknown_operation_closes_nothing() -> None:
    assert code_of(b'{"op":"mail.sned","body":' + nested(600) + b"}") == "unknown_op"
    assert code_of(b'{"body":' + nested(100_000) + b"}") == "bad_frame"


@pytest.mark.parametrize(
    "data",
    [
        b'"\xff"',
        b"\xff",
        b'{"op":"bye","id":"\xc3"}',
        send(b'"\xed\xa0\x80"'),
        b'[{"op":"bye"},' + send(b'"\xc0\x80"') + b"]",
    ],
)
def test_what_is_not_utf8(data: bytes) -> None:
    with pytest.raises(NotUtf8):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \r\n\t",
        b"hello",
        b"NaN",
        b"{",
        b"[",
        b"[[",
        b'{"op":"bye"',
        b'{"op":"bye"}}',
        b'{"op":"bye"} {"op":"bye"}',
        b'{"op":"bye",}',
        b'{"op":"bye",} ',
        b'{"op":"bye" "id":1}',
        b"{'op':'bye'}",
        b'[{"op":"bye"},]',
        b'[{"op":"bye"}]]',
        b'\xef\xbb\xbf{"op":"bye"}',
        b'\xc2\xa0{"op":"bye"}',
        send(b"NaN"),
        send(b"nul"),
        send(b"01"),
        send(b"1."),
        send(b"'a'"),
        send(b'"a\nb"'),
        send(rb'"\x"'),
        send(rb'"\ud800\x"'),
        send(rb'"\ud800",x'),
        send(b"[1,]"),
        send(b"[}"),
        send(b"["),
        send(b"[" * 600),
        send(b"[" * 100_000),
        ack(rb'{"to":"bob","body":"\ud800","x":tru}'),
        b'[{"op":"bye"},' + send(b"[1,]") + b"]",
        b"[" + send(rb'"\ud800"') + b',{"op"}]',
    ],
)
def test_what_is_not_json(data: bytes) -> None:
    with pytest.raises(NotProtocol):
        decode(data)


@pytest.mark.parametrize(
    ("around", "frame"),
    [
        (1, b'{"op":"bye","x":%s}'),
        (1, b'{"op":"none","x":%s}'),
        (1, send(to=b"%s")),
        (1, send(rb'"\ud800"', b',"x":%s')),
        (2, send(more=b',"meta":{"a":%s}')),
        (4, ack(b'{"to":"bob","body":1,"meta":{"a":%s}}')),
        (2, ack(b"%s")),
    ],
)
def test_64_levels_outside_a_body(around: int, frame: bytes) -> None:
    levels = 64 - around  # so many brackets are open in the frame where the tower stands
    assert len(decode(frame.replace(b"%s", nested(levels)))) == 1
    assert len(decode(b"[" + frame.replace(b"%s", nested(levels - 1)) + b"]")) == 1
    for deeper in (
        frame.replace(b"%s", nested(levels + 1)),
        b"[" + frame.replace(b"%s", nested(levels)) + b"]",
        frame.replace(b"%s", nested(100_000)),
        b'[{"op":"bye"},' + frame.replace(b"%s", nested(2_000)) + b"]",
    ):
        with pytest.raises(NotProtocol):
            decode(deeper)


@pytest.mark.parametrize("depth", [65, 600, 100_000])
def test_a_tower_without_a_frame_is_not_the_protocol(depth: int) -> None:
    for data in (nested(depth), b"[1," + nested(depth) + b"]", b'{"a":' + nested(depth) + b"}"):
        with pytest.raises(NotProtocol):
            decode(data)
