"""Taking JSON text apart without recursion."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_json import OBJECT, VALUE, nested, steady

from broker.wire.scan import NotProtocol, elements, members, mended, nesting


def depth_of(value: Any) -> int:
    """How deep a value is nested, by the plainest way to count it."""
    if isinstance(value, dict):
        return 1 + max((depth_of(each) for _, each in value["pairs"]), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def loaded(text: bytes) -> Any:
    """The value with all members of its objects, those under one key included."""
    return json.loads(text, object_pairs_hook=lambda pairs: {"pairs": pairs})


@steady
@given(VALUE)
def test_nesting_is_the_depth_of_the_value(text: bytes) -> None:
    assert nesting(text) == depth_of(loaded(text))


@pytest.mark.parametrize("depth", [0, 1, 7, 8, 9, 64, 65, 512, 513, 100_000])
def test_nesting_of_a_tower(depth: int) -> None:
    assert nesting(nested(depth)) == depth


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (rb'"[[["', 0),
        (rb'["[\"[", "\\", ["]"]]', 2),
        (rb'{"\\\"[":["\\\\"]}', 2),
        (b'["["' + b',"]"' * 600 + b',"["' * 600 + b"]", 1),
        (b"[" + b"[]," * 1_000 + b"{}]", 2),
    ],
)
def test_brackets_in_strings_are_no_depth(text: bytes, depth: int) -> None:
    assert nesting(text) == depth


@steady
@given(st.lists(VALUE, max_size=5))
def test_elements_are_what_stands_between_the_commas(values: list[bytes]) -> None:
    text = b"[" + b" ,\n".join(values) + b" ]"
    assert list(elements(text)) == values


@steady
@given(OBJECT)
def test_members_are_all_keys_and_values(text: bytes) -> None:
    found = [(json.loads(key), loaded(value)) for key, value in members(text)]
    assert found == loaded(text)["pairs"]


@pytest.mark.parametrize(
    "text",
    [
        b"[",
        b"[1",
        b"[1,",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b"[1]]",
        b"[1] 2",
        b'["a]',
        b'["a\\"]',
        b"[\\]",
        b"[[[1]]",
        b"[\\[[1]]",
        b"[1:2]",
        b"[[\\]]",
    ],
)
def test_what_is_no_array_is_refused(text: bytes) -> None:
    with pytest.raises(NotProtocol):
        list(elements(text))


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b"{a:1}",
        b"{1:1}",
        b'{"a" 1}',
        b'{"a":1',
        b'{"a":1}}',
    ],
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(NotProtocol):
        list(members(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb'"\ud800"', rb'"\ufffd"'),
        (rb'"\uDFFF"', rb'"\ufffd"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\ud800\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\u0041"', rb'"\ufffd\u0041"'),
        (rb'"\\ud800"', rb'"\\ud800"'),
        (rb'"\\\ud800"', rb'"\\\ufffd"'),
        (rb'"\\\\ud800"', rb'"\\\\ud800"'),
    ],
)
def test_only_half_pairs_are_mended(text: bytes, expected: bytes) -> None:
    assert mended(text) == expected


@steady
@given(VALUE)
def test_whole_text_needs_no_mending(text: bytes) -> None:
    assert mended(text) == text
