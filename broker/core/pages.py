"""Pages of a list: where one goes on, and how much of it fits into one frame.

Owns: the form of cursors, which is nobody's business but the broker's, and the size of a page.
Knows no list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from broker.wire.errors import Refused
from broker.wire.frames import encode

Item = TypeVar("Item")

ENVELOPE: Final = 4 * 1_024
"""What a reply has around its list: an id, a cursor, counts."""


def position(noun: str, after: str | None) -> str:
    """Behind which place a list goes on; the empty string is before all others."""
    if after is None:
        return ""
    kind, _, place = after.partition(":")
    if kind != noun or not place:
        raise Refused("bad_request", f"after: {after[:100]!r} is no cursor of this list")
    return place


def page(
    noun: str, found: Iterable[tuple[str, Item]], limit: int, frame: int
) -> tuple[list[Item], str | None]:
    """The first of what was found, with its place, and the cursor to the rest if there is any.

    At most `limit`, as many as fit a frame, and always one.
    """
    items: list[Item] = []
    last, room = "", frame - ENVELOPE
    for place, item in found:
        room -= len(encode(item)) + 1
        if len(items) == limit or (room < 0 and items):
            return items, f"{noun}:{last}"
        items.append(item)
        last = place
    return items, None
