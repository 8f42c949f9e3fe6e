"""Whose turn it is: a share of each connection, in the order in which they spoke."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from broker.core.ring import SHARE, Ring


class Ask:
    """A request that changes something."""


class Look(Ask):
    """A request that reads."""


class Speaker:
    """What the ring knows of a connection."""

    def __init__(self, *requests: Any) -> None:
        self.inbox = deque(requests)
        self.queued = True


def ring(*speakers: Any) -> Ring:
    made = Ring({Look})
    for speaker in speakers:
        made.add(speaker)
    return made


def some(count: int) -> list[Ask]:
    return [Ask() for _ in range(count)]


def test_who_says_little_is_taken_whole() -> None:
    said = some(SHARE)
    speaker = Speaker(*said)
    waiting = ring(speaker)
    who, taken = waiting.take()
    assert who.inbox is speaker.inbox
    assert taken == said
    assert not waiting
    assert not speaker.queued
    assert not speaker.inbox


def test_who_says_much_waits_for_the_others_after_each_share() -> None:
    loud, quiet = Speaker(*some(2 * SHARE + 1)), Speaker(*some(1))
    waiting = ring(loud, quiet)
    taken = [waiting.take() for _ in range(4)]
    who: list[Any] = [one for one, _ in taken]
    assert who == [loud, quiet, loud, loud]
    assert [len(requests) for _, requests in taken] == [SHARE, 1, SHARE, 1]
    assert not waiting
    assert not loud.queued


@pytest.mark.parametrize("before", [0, 1, SHARE - 1])
@pytest.mark.parametrize("after", [0, 1, SHARE])
def test_a_read_is_the_last_of_its_share_and_holds_up_what_follows(before: int, after: int) -> None:
    speaker = Speaker(*some(before), Look(), *some(after))
    waiting = ring(speaker)
    _, requests = waiting.take()
    assert [type(request) for request in requests] == [Ask] * before + [Look]
    assert not waiting, "its turn comes again when the read is answered"
    assert speaker.queued
    assert len(speaker.inbox) == after


def test_a_read_behind_the_share_waits_for_its_own() -> None:
    speaker = Speaker(*some(SHARE), Look())
    waiting = ring(speaker)
    assert len(waiting.take()[1]) == SHARE
    assert len(waiting.take()[1]) == 1
    assert not waiting
