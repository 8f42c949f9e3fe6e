"""Pages: where they end, and that each fits a frame."""

from __future__ import annotations

import pytest

from broker.core.pages import ENVELOPE, page, position
from broker.wire.errors import Refused

ITEMS = [(str(number), "x" * 98) for number in range(10)]  # 101 bytes each, comma included


def test_all_that_there_is() -> None:
    assert page("noun", ITEMS, 10, 10**6) == ([item for _, item in ITEMS], None)
    assert page("noun", [], 10, 10**6) == ([], None)


def test_as_many_as_asked_for_and_where_to_go_on() -> None:
    items, cursor = page("noun", ITEMS, 3, 10**6)
    assert (len(items), cursor) == (3, "noun:2")
    assert position("noun", cursor) == "2"


def test_as_many_as_fit() -> None:
    items, cursor = page("noun", ITEMS, 10, ENVELOPE + 4 * 101)
    assert (len(items), cursor) == (4, "noun:3")
    items, cursor = page("noun", ITEMS, 10, ENVELOPE + 4 * 101 - 1)
    assert (len(items), cursor) == (3, "noun:2")


def test_one_at_least() -> None:
    assert page("noun", ITEMS, 10, 0) == ([ITEMS[0][1]], "noun:0")
    assert page("noun", ITEMS[:1], 10, 0) == ([ITEMS[0][1]], None)


def test_the_beginning() -> None:
    assert position("noun", None) == ""


def test_a_place_may_hold_the_separator() -> None:
    assert position("noun", "noun:a:b") == "a:b"


@pytest.mark.parametrize("cursor", ["", "noun", "noun:", "verb:1", ":1", "NOUN:1", "2"])
def test_a_cursor_of_another_list(cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        position("noun", cursor)
    assert refused.value.code == "bad_request"
    assert "after" in refused.value.message
