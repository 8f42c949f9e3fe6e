"""The structs of the wire: they say what the protocol says, and come back as they went."""

from __future__ import annotations

import inspect as source
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from msgspec import Raw, inspect
from wire_json import OBJECT, VALUE, few

from broker.wire import (
    ANY_EVENT,
    EVENTS,
    OPERATIONS,
    Answer,
    Reply,
    decode,
    encode,
)
from broker.wire.mail import Content, Send

NAMES = [
    "hello",
    "bye",
    "peer.list",
    "peer.watch",
    "presence.update",
    "group.join",
    "group.leave",
    "group.list",
    "mail.send",
    "mail.claim",
    "mail.ack",
    "mail.nack",
    "mail.extend",
    "mail.cancel",
    "mail.trace",
    "mail.list",
    "mail.dead",
    "mail.redrive",
    "mail.drop",
    "dispatch.create",
    "dispatch.lease",
    "dispatch.renew",
    "dispatch.consume",
    "dispatch.fail",
    "dispatch.cancel",
    "dispatch.get",
    "dispatch.list",
    "delegation.open",
    "delegation.update",
    "delegation.heartbeat",
    "delegation.get",
    "delegation.list",
    "delegation.stats",
    "member.add",
    "member.update",
    "member.list",
    "member.remove",
    "token.create",
    "token.list",
    "token.revoke",
    "mesh.create",
    "mesh.list",
    "broker.stats",
]

ANSWERS = sorted({op.Answer for op in OPERATIONS.values()}, key=lambda answer: answer.__name__)


def strategy(kind: inspect.Type, name: str) -> st.SearchStrategy[Any]:
    """Values of a type of the wire."""
    match kind:
        case inspect.UnionType(types):
            return st.one_of([strategy(each, name) for each in types])
        case inspect.LiteralType(values):
            return st.sampled_from(values)
        case inspect.ListType(item):
            return st.lists(strategy(item, name), min_size=kind.min_length or 0, max_size=3)
        case inspect.DictType(key, value):
            return st.dictionaries(strategy(key, name), strategy(value, name), max_size=3)
        case inspect.StructType(cls):
            return structs(cls)
        case inspect.RawType():
            return (OBJECT if name == "meta" else VALUE).map(Raw)
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(
                -(2**53) if kind.ge is None else kind.ge, 2**53 if kind.le is None else kind.le
            )
        case inspect.StrType():
            if kind.pattern is not None:
                pattern = re.compile(kind.pattern)
                most = kind.max_length or 1_000
                return st.from_regex(pattern).filter(
                    lambda text: (kind.min_length or 0) <= len(text) <= most
                )
            return st.text(min_size=kind.min_length or 0, max_size=min(kind.max_length or 20, 20))
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return st.integers()
    raise AssertionError(kind)


@st.composite
def structs(draw: st.DrawFn, cls: type[Any]) -> Any:
    """Structs of a class, with any choice of the fields that may be missing."""
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    given_fields = {
        field.name: draw(strategy(field.type, field.encode_name))
        for field in kind.fields
        if field.required or draw(st.booleans())
    }
    try:
        return cls(**given_fields)
    except ValueError:
        reject()


def test_the_operations_are_those_of_the_protocol() -> None:
    assert sorted(OPERATIONS) == sorted(NAMES)


def test_the_events_are_those_of_the_protocol() -> None:
    assert sorted(EVENTS) == [
        "error",
        "mail.deliver",
        "mail.progress",
        "peer.changed",
        "peer.joined",
        "peer.left",
        "peer.synced",
    ]


@pytest.mark.parametrize("op", NAMES)
@few
@given(data=st.data())
def test_every_request_comes_back_as_it_went(op: str, data: st.DataObject) -> None:
    request = data.draw(structs(OPERATIONS[op]))
    assert decode(encode(request)) == [request]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer.__name__))
@few
@given(data=st.data())
def test_every_answer_comes_back_as_it_went(answer: type[Answer], data: st.DataObject) -> None:
    made = data.draw(structs(answer))
    reply = encode(Reply(7, made))
    back = msgspec.json.decode(reply, type=dict[str, Raw])
    assert back["re"] == Raw(b"7")
    assert msgspec.json.decode(back["ok"], type=answer) == made


@pytest.mark.parametrize("name", sorted(EVENTS))
@few
@given(data=st.data())
def test_every_event_comes_back_as_it_went(name: str, data: st.DataObject) -> None:
    event = data.draw(structs(EVENTS[name]))
    assert msgspec.json.decode(encode(event), type=ANY_EVENT) == event
    assert json.loads(encode(event))["ev"] == name


@pytest.mark.parametrize("struct", [*OPERATIONS.values(), *EVENTS.values(), *ANSWERS])
def test_every_struct_says_in_a_sentence_what_it_is(struct: type[Any]) -> None:
    words = source.cleandoc(struct.__dict__["__doc__"])
    assert words.endswith(".")
    assert len(words) <= 100
    assert "\n" not in words


def test_every_list_has_a_page_of_bounded_length() -> None:
    for op, request in OPERATIONS.items():
        names = request.Answer.__struct_encode_fields__
        if op.endswith(".list") or op in {"mail.dead", "mail.trace"}:
            assert {"limit", "after"} <= set(request.__struct_fields__)
            assert "next" in names


def test_an_output_is_a_send_without_its_id() -> None:
    def told(struct: type[Any]) -> list[inspect.Field]:
        kind = inspect.type_info(struct)
        assert isinstance(kind, inspect.StructType)
        return [field for field in kind.fields if field.name != "id"]

    assert told(Content) == told(Send)
    assert Content.__struct_config__.forbid_unknown_fields
