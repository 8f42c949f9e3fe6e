"""Cuts, hashes and the bodies of mails: no character is halved, no two contents are one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.areas.delegations.content import (
    MARGIN_BYTES,
    PREVIEW_BYTES,
    cut,
    opened_hash,
    result_body,
    said_hash,
    task_body,
)

MIXED = st.text(st.sampled_from('aé€😀\u0301\x00\x7f\n"\\ß漢'), min_size=1, max_size=40)
ERRORS = st.text(st.sampled_from('aé€😀\x00\x1f"\\'), max_size=300)


@given(MIXED)
def test_every_cut_leaves_whole_characters(text: str) -> None:
    whole = text.encode()
    for most in range(len(whole) + 2):
        left = cut(whole, most)
        assert text.startswith(left)
        assert len(left.encode()) <= most
        # Nothing that would have fitted is missing.
        following = text[len(left) : len(left) + 1]
        assert not following or len((left + following).encode()) > most


@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
@pytest.mark.parametrize("before", range(5))
def test_a_preview_is_cut_before_the_character_that_goes_over(character: str, before: int) -> None:
    text = "x" * before + character * PREVIEW_BYTES
    width = len(character.encode())
    room = PREVIEW_BYTES - before
    assert cut(text.encode()) == "x" * before + character * (room // width)


def test_what_fits_is_not_cut() -> None:
    assert cut("😀".encode() * 1_024) == "😀" * 1_024


def test_what_is_the_same_delegation() -> None:
    hashes = {
        opened_hash("bob", 1, False, b"1"),
        opened_hash("bob", 1, True, b"1"),
        opened_hash("bob", 2, False, b"1"),
        opened_hash("bo", 1, False, b"1"),
        opened_hash("bob", 1, False, b"1 "),
        opened_hash("bob", 1, False, b"1.0"),
    }
    assert len(hashes) == 6
    assert opened_hash("bob", 1, False, b"1") in hashes


def test_what_is_the_same_report() -> None:
    hashes = {
        said_hash(None, None),
        said_hash(b"null", None),
        said_hash(None, "null"),
        said_hash(None, ""),
        said_hash(b'""', None),
        said_hash(b"1", "2"),
        said_hash(b"1", None),
        said_hash(b'1"', "2"),
    }
    assert len(hashes) == 8
    assert said_hash(None, None) is None


def test_a_task_goes_out_as_it_came_in() -> None:
    task = b'{"b":1.0, "a":1e400,"a" : "\\u00e9"}'
    assert task_body('q"1', task) == b'{"delegation":"q\\"1","task":' + task + b"}"


def test_a_result_goes_out_as_it_came_in() -> None:
    body = result_body("q", "completed", b"[1 , 2.50]", None, None, late=False, limit=100)
    assert body == (
        b'{"delegation":"q","status":"completed","result":[1 , 2.50],'
        b'"error":null,"reason":null,"late":false}'
    )


@given(ERRORS, st.integers(min_value=0, max_value=40), st.booleans())
def test_a_result_mail_keeps_its_bound(error: str, slack: int, late: bool) -> None:
    limit = 10
    long = error * 30 + "x" * (MARGIN_BYTES - 400 + slack)
    body = result_body("q", "failed", b'"12345678"', long, "dead", late=late, limit=limit)
    assert len(body) <= limit + MARGIN_BYTES
    told = json.loads(body)
    assert long.startswith(told["error"])
    assert told == {
        "delegation": "q",
        "status": "failed",
        "result": "12345678",
        "error": told["error"],
        "reason": "dead",
        "late": late,
    }
    if told["error"] != long:
        # What was cut off would not have fitted: the longest escape takes twelve bytes.
        assert len(body) > limit + MARGIN_BYTES - 12
