"""Taking JSON text apart without recursion: how deep it is nested, where its parts end.

Owns: what msgspec can't say because it gives up on text that is nested too deep or holds half a
surrogate pair. Everything here is linear in the text. Knows nothing of frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_MARK: Final = re.compile(STRING + rb'|[\[{]++|[\]}]++|["\\]', re.DOTALL)
_SCALAR: Final = re.compile(STRING + rb'|[^\s,:"\[\]{}\\]++', re.DOTALL)
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")

# An escape of half a pair. Whole pairs are matched too, so that their halves are passed over; the
# run of backslashes before tells an escape from an escaped backslash.
_HALF: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*+)\\u(?:([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|[dD][89a-fA-F][0-9a-fA-F]{2})"
)

# Folds both kinds of bracket into one and keeps nothing else but quotes.
_FOLD: Final = bytes.maketrans(b"{}", b"[]")
_NO_MARK: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEP: Final = {ord("["): 1, ord("]"): -1}

# Most JSON is flat and wide: so many levels are taken off whole before counting one by one.
_FLAT: Final = 8


class NotProtocol(Exception):  # noqa: N818 - the peer's fault: it ends the connection
    """The message can't be taken as the protocol; the text says why."""


def nesting(text: bytes) -> int:
    """Tell how deep the containers of one JSON value are nested; a scalar is 0 deep."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = text.translate(_FOLD, _NO_MARK).replace(b'""', b"")
    if b'"' in marks:
        # What is left of strings are those with brackets inside: every second part is one.
        marks = b"".join(marks.split(b'"')[::2])
    levels = 0
    while marks and levels < _FLAT:
        marks = marks.replace(b"[]", b"")
        levels += 1
    return levels + max(accumulate(map(_STEP.__getitem__, marks)), default=0)


def mended(text: bytes) -> bytes:
    """Put U+FFFD in the place of every half surrogate pair, to see if the rest is JSON."""
    return _HALF.sub(lambda half: half[0] if half[2] else half[1] + rb"\ufffd", text)


def elements(text: bytes) -> Iterator[bytes]:
    """Give the elements of an array, each as it stands. What is inside them is not checked."""
    return (value for _, value in _parts(text, b"]", keyed=False))


def members(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the keys (with their quotes) and values of an object, each as it stands."""
    return _parts(text, b"}", keyed=True)


def _parts(text: bytes, closer: bytes, *, keyed: bool) -> Iterator[tuple[bytes, bytes]]:
    at = _space(text, 1)
    if text[at : at + 1] != closer:
        while True:
            key = b""
            if keyed:
                end = _end(text, at)
                key = text[at:end]
                at = _space(text, end)
                if key[:1] != b'"' or text[at : at + 1] != b":":
                    raise NotProtocol("not JSON: a key and a colon expected")
                at = _space(text, at + 1)
            end = _end(text, at)
            yield key, text[at:end]
            at = _space(text, end)
            if text[at : at + 1] == closer:
                break
            if text[at : at + 1] != b",":
                raise NotProtocol("not JSON: a comma expected")
            at = _space(text, at + 1)
    if _space(text, at + 1) != len(text):
        raise NotProtocol("not JSON: something follows its end")


def _space(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _end(text: bytes, at: int) -> int:
    """Find where the value that begins at `at` ends."""
    if text[at : at + 1] not in (b"[", b"{"):
        scalar = _SCALAR.match(text, at)
        if scalar is None:
            raise NotProtocol("not JSON: a value expected")
        return scalar.end()
    depth = 0
    for mark in _MARK.finditer(text, at):
        start, end = mark.span()
        first = text[start]
        if first in b"[{":
            depth += end - start
        elif first in b"]}":
            if end - start >= depth:
                return start + depth
            depth -= end - start
        elif end - start == 1:
            break
    raise NotProtocol("not JSON: a value does not end")
