"""JSON text as the wire tests make it: every way of writing a value that RFC 8259 allows."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

# A slow machine is no failure; where there is a test for every struct, few examples of each do.
steady = settings(deadline=None)
few = settings(deadline=None, max_examples=25)

SPACE = st.sampled_from([b"", b"", b"", b" ", b"\t", b"\r\n", b"  \n "])

_CHARACTER = st.one_of(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\').map(
        str.encode
    ),
    st.sampled_from([rb"\"", rb"\\", rb"\/", rb"\b", rb"\f", rb"\n", rb"\r", rb"\t"]),
    st.sampled_from([rb"\u0000", rb"\u00e9", rb"\uFFFF", rb"\ud83d\ude00", rb"\uDBFF\udfff"]),
    st.sampled_from([b"[", b"]", b"{", b"}", b":", b",", b"\x7f"]),
)

STRING = st.lists(_CHARACTER, max_size=8).map(lambda parts: b'"' + b"".join(parts) + b'"')

NUMBER = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
    st.sampled_from([b"", b"-"]),
    st.one_of(st.just(b"0"), st.integers(1, 10**40).map(lambda n: str(n).encode())),
    st.sampled_from([b"", b".0", b".000", b".123456789012345678901234567890"]),
    st.sampled_from([b"", b"e0", b"E+999", b"e-12345"]),
)

SCALAR = st.one_of(st.sampled_from([b"null", b"true", b"false"]), NUMBER, STRING)


def _spaced(part: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda before, text, after: before + text + after, SPACE, part, SPACE)


def _array(value: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(_spaced(value), max_size=4).map(lambda parts: b"[" + b",".join(parts) + b"]")


def _member(value: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    # Few keys, so that some stand twice in an object.
    key = st.one_of(st.sampled_from([b'"a"', b'"body"', b'"op"']), STRING)
    return st.builds(lambda key, value: key + b":" + value, _spaced(key), _spaced(value))


def objects(value: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Objects of these values."""
    return st.lists(_member(value), max_size=4).map(lambda parts: b"{" + b",".join(parts) + b"}")


VALUE = st.recursive(SCALAR, lambda value: st.one_of(_array(value), objects(value)), max_leaves=20)
OBJECT = objects(VALUE)


def nested(depth: int, inside: bytes = b"") -> bytes:
    """An array in an array in an array ..."""
    return b"[" * depth + inside + b"]" * depth
