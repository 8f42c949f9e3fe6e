"""Frames that fail alone, and what is said of them."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from wire_frames import ack, code_of, one, refused, send
from wire_json import nested

from broker.wire import Bad, decode
from broker.wire.codec import MAX_BAD
from broker.wire.explain import MAX_PARTS
from broker.wire.fields import NULL
from broker.wire.mail import Ack, Send
from broker.wire.presence import Bye


@pytest.mark.parametrize(
    "frame",
    [
        b"1",
        b"null",
        b'"bye"',
        rb'"\ud800"',
        b"{}",
        b'{"id":7}',
        b'{"op":null}',
        b'{"op":3,"id":7}',
        b'{"op":["bye"]}',
        b'{"OP":"bye"}',
        rb'{"\ud800":1}',
    ],
)
def test_what_has_no_op_is_a_bad_frame(frame: bytes) -> None:
    bad = refused(frame)
    assert bad == Bad(error=bad.error)
    assert bad.error.code == "bad_frame"
    assert decode(b'[{"op":"bye"},' + frame + b',{"op":"bye"}]') == [Bye(), bad, Bye()]


def test_an_empty_array_is_one_bad_frame() -> None:
    assert code_of(b" [ ] ") == "bad_frame"


def test_an_array_in_an_array_is_a_bad_frame() -> None:
    results = decode(b'[[{"op":"bye"}],[],{"op":"bye"}]')
    assert [result.error.code for result in results if isinstance(result, Bad)] == ["bad_frame"] * 2
    assert results[2] == Bye()


def test_an_unknown_operation_is_named() -> None:
    bad = refused(b'{"op":"mail.sned","id":"x","to":1}')
    assert (bad.id, bad.op, bad.error.code) == ("x", "mail.sned", "unknown_op")


@pytest.mark.parametrize("op", [rb"\ud800", b"x" * 65, b"x" * 100_000])
def test_an_operation_that_cannot_be_named_is_not(op: bytes) -> None:
    bad = refused(b'{"op":"' + op + b'","id":7}')
    assert (bad.id, bad.op, bad.error.code) == (7, None, "unknown_op")
    assert len(bad.error.message) <= 300


@pytest.mark.parametrize(
    "identity",
    [
        b"null",
        b"true",
        b"1.0",
        b"1.5",
        b"1e3",
        b"9007199254740993",
        b"-9007199254740993",
        b"1" * 400,
        b'"' + b"x" * 65 + b'"',
        b"[]",
        rb'"\ud800"',
    ],
)
def test_an_unusable_id_is_not_repeated(identity: bytes) -> None:
    bad = refused(b'{"op":"bye","id":' + identity + b"}")
    assert (bad.id, bad.op, bad.error.code) == (UNSET, "bye", "bad_request")
    assert "`id`" in bad.error.message
    assert refused(b'{"op":"no","id":' + identity + b"}").id is UNSET


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (b'{"op":"mail.send","id":7,"body":1}', "`to`"),
        (b'{"op":"mail.send","id":7,"to":"bob"}', "`body`"),
        (send(to=b"3"), "`to`"),
        (send(to=b"[]"), "`to`"),
        (send(to=b'["bob",3]'), "`to[1]`"),
        (send(more=b',"from":"eve"'), "`from`"),
        (send(more=rb',"\ud800":1'), "name"),
        (send(more=b',"kind":"' + b"x" * 65 + b'"'), "`kind`"),
        (send(more=b',"key":""'), "`key`"),
        (send(more=b',"key":"' + b"x" * 129 + b'"'), "`key`"),
        (send(more=rb',"key":"\ud800"'), "`key`"),
        (send(more=b',"priority":256'), "`priority`"),
        (send(more=b',"priority":"urgent"'), "`priority`"),
        (send(more=b',"ttl_ms":0'), "`ttl_ms`"),
        (send(more=b',"ttl_ms":2592000001'), "`ttl_ms`"),
        (send(more=b',"ttl_ms":1000.0'), "`ttl_ms`"),
        (send(more=b',"delay_ms":-1'), "`delay_ms`"),
        (send(more=b',"max_attempts":0'), "`max_attempts`"),
        (send(more=b',"receipt":1'), "`receipt`"),
        (send(more=b',"dedupe":"never"'), "`dedupe`"),
        (send(more=b',"meta":[]'), "`meta`"),
        (send(more=b',"meta":"{}"'), "`meta`"),
        (send(more=rb',"meta":{"a":"\udc00"}'), "`meta`"),
        (send(rb'"\ud800"'), "`body`"),
        (send(rb'{"\udc00":1}'), "`body`"),
        (send(b"1", b',"op":"bye"'), "`op`"),
        (ack(b'{"to":"bob"}'), "`body`"),
        (ack(b'{"to":"bob","body":1,"op":"mail.send"}'), "`op`"),
        (ack(b'{"to":"bob","body":1,"delay_ms":"1"}'), "`outputs[0].delay_ms`"),
        (ack(b'{"to":"bob","body":1,"meta":1}'), "`outputs[0].meta`"),
        (ack(rb'{"to":"bob","body":"\ud800"}'), "`outputs[0].body`"),
        (ack(rb'{"to":"bob","\ud800":1}'), "`outputs[0]`"),
        (ack(rb'"\ud800"'), "`outputs[0]`"),
        (ack(b"1"), "`outputs[0]`"),
        (b'{"op":"mail.ack","id":7,"delivery":"d","claim":"c","outputs":{}}', "`outputs`"),
        (b'{"op":"mail.redrive","id":7}', "`delivery`"),
        (b'{"op":"mail.drop","id":7,"delivery":"d","mailbox":"m"}', "`mailbox`"),
        (b'{"op":"dispatch.get","id":7}', "`dispatch`"),
        (b'{"op":"dispatch.lease","id":7,"call_id":"c"}', "`agent_type`"),
        (b'{"op":"peer.list","id":7,"limit":201}', "`limit`"),
        (b'{"op":"hello","id":7,"member":"a","client":{"name":"x","pid":1}}', "`client`"),
        (b'{"op":"group.join","id":7,"group":"team"}', "`group`"),
    ],
)
def test_a_bad_request_names_the_field(frame: bytes, named: str) -> None:
    bad = refused(frame)
    assert (bad.id, bad.error.code) == (7, "bad_request")
    assert named in bad.error.message
    assert decode(b'[{"op":"bye"},' + frame + b"]") == [Bye(), bad]


@pytest.mark.parametrize(
    ("op", "field"),
    [
        ('"mail.nack","delivery":"d","claim":"c"', "reason"),
        ('"mail.extend","delivery":"d","claim":"c"', "note"),
        ('"presence.update"', "summary"),
        ('"hello","member":"alice"', "summary"),
        ('"dispatch.fail","dispatch":"d","lease_token":"t"', "reason"),
        ('"dispatch.fail","dispatch":"d","lease_token":"t","reason":"r"', "error"),
        ('"delegation.update","delegation":"d","status":"failed"', "error"),
        ('"delegation.heartbeat","delegation":"d"', "note"),
        ('"member.add","member":"bob"', "note"),
        ('"member.update","member":"bob"', "note"),
    ],
)
def test_texts_are_bounded_in_bytes(op: str, field: str) -> None:
    def frame(text: str) -> bytes:
        return f'{{"op":{op},"id":7,"{field}":"{text}"}}'.encode()

    for text in ("x" * 4_096, "é" * 2_048):
        assert getattr(one(frame(text)), field) == text
    for text in ("x" * 4_097, "é" * 2_048 + "x"):
        bad = refused(frame(text))
        assert (bad.id, bad.error.code) == (7, "bad_request")
        assert f"`{field}`" in bad.error.message


def test_what_is_said_of_a_long_name_is_short() -> None:
    bad = refused(send(more=b',"' + b"x" * 100_000 + b'":1'))
    assert bad.error.code == "bad_request"
    assert len(bad.error.message) <= 300


def test_the_last_of_two_values_counts() -> None:
    assert one(b'{"op":"bye","id":1,"id":2,"op":"bye"}') == Bye(id=2)
    assert refused(b'{"op":"bye","id":1,"id":2,"x":1}').id == 2
    assert refused(rb'{"op":"bye","id":1,"id":2,"x":"\ud800"}').id == 2


def test_null_meta_is_no_meta() -> None:
    for data in (send(), send(more=b',"meta":null')):
        request = one(data)
        assert isinstance(request, Send)
        assert request.meta == NULL


def test_the_hundredth_bad_frame_is_the_last_that_is_read() -> None:
    frames = [b'{"op":"bye"}', *[b"{}"] * 300, b'{"op":"bye"}']
    results = decode(b"[" + b",".join(frames) + b"]")
    assert results[0] == Bye()
    assert len(results) == 1 + MAX_BAD
    assert all(isinstance(result, Bad) for result in results[1:])


@pytest.mark.parametrize("count", [MAX_PARTS, MAX_PARTS + 1])
def test_a_frame_of_many_parts_is_refused(count: int) -> None:
    half = rb'"\ud800"'
    fields = b",".join([b'"f":1'] * count)
    outputs = b",".join([b'{"to":"bob","body":1}'] * count)
    for frame in (
        send(half, b"," + fields),
        ack(b'{"to":"bob","body":' + half + b"," + fields + b"}"),
        ack(outputs + b',{"to":"bob","body":' + nested(600) + b"}"),
        ack(outputs + b',{"to":"bob","body":1,"meta":1}'),
    ):
        assert code_of(frame) == "bad_request"


def test_many_good_outputs_are_for_the_area_to_refuse() -> None:
    request = one(ack(b",".join([b'{"to":"bob","body":1}'] * 2_000)))
    assert isinstance(request, Ack)
    assert len(request.outputs) == 2_000


@pytest.mark.parametrize(
    "output",
    [
        b'{"to":"bob"}',
        b'{"to":"bob","body":1,"delay_ms":-3}',
        b'{"to":"bob","body":1,"colour":2}',
        rb'{"to":"bob","body":"\ud800"}',
        b"1",
    ],
)
def test_a_bad_output_is_named_in_the_detail_too(output: bytes) -> None:
    good = b'{"to":"bob","body":1}'
    assert refused(ack(good + b"," + output)).error.detail == {"output": 1}
    assert refused(ack(good + b"," + good + b'],"claim":[')).error.detail is None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (b"priority", b'"high"', "`priority`: 'high' is not one of critical, info, task"),
        (b"key", b'""', "`key`: Expected `str` of length >= 1"),
        (b"ttl_ms", b"0", "`ttl_ms`: Expected `int` >= 1"),
    ],
)
def test_what_a_field_may_hold_is_said(field: bytes, value: bytes, said: str) -> None:
    wrong = b'{"to":"bob","body":1,"%b":%b}' % (field, value)
    bad = refused(b'{"op":"mail.send","id":7,' + wrong[1:])
    assert bad.error.message.startswith(said)
    bad = refused(b'{"op":"mail.ack","id":7,"delivery":"d2","claim":"c1","outputs":[%b]}' % wrong)
    assert bad.error.message.startswith(said.replace("`", "`outputs[0].", 1))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            b'{"op":"peer.watch","id":7,"roles":["session","boss"]}',
            "`roles[1]`: 'boss' is not one of control-plane, service, session",
        ),
        (
            b'{"op":"group.join","id":7,"group":"team"}',
            "`group`: Expected @group, @group/part/... of at most 8 names, or #topic",
        ),
        (
            b'{"op":"member.add","id":7,"member":"Bob"}',
            "`member`: Expected a name: 1 to 64 of a-z 0-9 . _ - that begin with a-z or 0-9",
        ),
        (
            b'{"op":"hello","id":7,"member":"bob","token":"","role":"boss"}',
            "`role`: 'boss' is not one of control-plane, service, session",
        ),
    ],
)
def test_words_and_patterns_that_a_field_allows_are_told(frame: bytes, said: str) -> None:
    assert refused(frame).error.message == said
