"""Keys of dispatches: the vector of the protocol, and that nothing is folded into anything else."""

from __future__ import annotations

import unicodedata

from dispatch_desk import FIELDS, KEY, PROMPT, PROMPT_SHA256
from hypothesis import given
from hypothesis import strategies as st

from broker.areas.dispatch.identity import hash_of, key_of, number_of, written

NAMES = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=8)


def key(**changed: str) -> str:
    fields = {**FIELDS, "prompt_sha256": PROMPT_SHA256, **changed}
    return key_of(**fields)


def test_the_key_of_the_protocol() -> None:
    assert hash_of(PROMPT.encode()) == PROMPT_SHA256
    assert key() == KEY


def test_what_looks_alike_is_not_alike() -> None:
    composed = unicodedata.normalize("NFC", "prüfer")
    decomposed = unicodedata.normalize("NFD", "prüfer")
    likes = ["a", "A", "a ", " a", "\u00a0a", "\u0430", "a\u200b", composed, decomposed]
    assert len({key(agent_type=like) for like in likes}) == len(likes)


@given(st.tuples(NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES))
def test_two_identities_share_no_key(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    keys = [key_of(*fields[:2], PROMPT_SHA256, fields[2]) for fields in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_a_text_cannot_move_from_one_field_to_the_next() -> None:
    assert key_of("ab", "c", PROMPT_SHA256, "d") != key_of("a", "bc", PROMPT_SHA256, "d")


def test_an_id_leads_back_to_its_number() -> None:
    assert number_of(written(7)) == 7
    strangers = ("", "w", "w0", "w07", "7", "W7", "w7 ", "w-7", "w\u0667", "w" + "9" * 30, "m7")
    assert [number_of(stranger) for stranger in strangers] == [None] * len(strangers)
