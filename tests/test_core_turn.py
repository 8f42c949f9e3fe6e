"""A turn: the journal takes memory back, `atomic` all of a request, and what is to leave waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import UNSET
from rig import FixedChance

from broker.config import Settings
from broker.core.holders import Mailbox, Presence
from broker.core.house import House, Member, Mesh
from broker.core.operations import Operations
from broker.core.turn import FAR, Turn, failure
from broker.store.sqlite import Writer, connect
from broker.wire.errors import ErrorBody, Refused
from broker.wire.frames import ErrorEvent, Failure, Reply
from broker.wire.presence import PeerSynced

INSERT = "INSERT INTO things VALUES (?)"
ALL = "SELECT name FROM things ORDER BY name"
ERROR = ErrorBody("not_found", "no such thing", False)

SOMEBODY: Any = object()
"""A connection; a turn only passes it on."""


class Thing:
    """Something that is remembered."""

    def __init__(self) -> None:
        self.size = 1


@pytest.fixture
def turn() -> Iterator[Turn]:
    """A turn that has begun, over a table of things."""
    connection = connect("file::memory:")
    connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY) STRICT")
    operations = Operations()
    one = Turn(Writer(connection), House(), Settings(), FixedChance(), operations)
    one.start(1_000)
    yield one
    connection.close()


def fail(turn: Turn, change: Callable[[], None], error: Exception) -> None:
    """Do something as one request, which then fails."""
    with turn.atomic():
        change()
        raise error


def presence() -> Presence:
    member = Member(1, Mesh(1, "default", 0), "ann", "member", frozenset(), None, 0)
    return Presence(1, member, Mailbox(1, member, None, chosen=False), "service", "t1")


def test_the_journal_runs_backwards(turn: Turn) -> None:
    order: list[int] = []
    for number in range(3):
        turn.undo(order.append, number)
    turn.back((0, 0, 0, 0, 0, 0))
    assert order == [2, 1, 0]
    assert turn.journal == []


def test_attributes_and_tables_are_as_before(turn: Turn) -> None:
    thing, table = Thing(), {"a": 1, "b": 2}
    mark = turn.mark()
    turn.put(thing, "size", 2)
    turn.put(thing, "size", 3)
    turn.enter(table, "a", 10)
    turn.enter(table, "c", 3)
    turn.strike(table, "b")
    turn.strike(table, "c")
    turn.enter(table, "b", 20)
    turn.strike(table, "nobody")
    assert (thing.size, table) == (3, {"a": 10, "b": 20})
    turn.back(mark)
    assert (thing.size, table) == (1, {"a": 1, "b": 2})


def test_only_what_came_after_the_mark_is_taken_back(turn: Turn) -> None:
    thing = Thing()
    turn.put(thing, "size", 2)
    turn.answer(SOMEBODY, 1, "kept")
    mark = turn.mark()
    turn.put(thing, "size", 3)
    turn.answer(SOMEBODY, 2, "gone")
    turn.pushes.append((SOMEBODY, b"gone"))
    turn.close(SOMEBODY, 1000, "gone")
    turn.again.append(lambda _: None)
    turn.answered.append((SOMEBODY, 2))
    turn.stirred.append(presence().box)
    turn.back(mark)
    assert thing.size == 2
    assert [frame.ok for _, frame in turn.control] == ["kept"]
    assert (turn.pushes, turn.closing, turn.again, turn.answered) == ([], [], [], [])
    assert turn.stirred == []


def test_atomic_keeps_what_went_well(turn: Turn) -> None:
    thing = Thing()
    with turn.atomic():
        turn.run(INSERT, ("a",))
        turn.later(INSERT, ("b",))
        turn.put(thing, "size", 2)
    assert turn.all(ALL) == [("a",), ("b",)]
    assert thing.size == 2


def test_atomic_takes_back_everything_that_was_refused(turn: Turn) -> None:
    thing, house = Thing(), turn.house
    turn.run(INSERT, ("before",))
    turn.later(INSERT, ("waiting",))
    numbers = house.next_number, house.number_mark

    def change() -> None:
        turn.run(INSERT, ("a",))
        turn.later(INSERT, ("b",))
        turn.put(thing, "size", 2)
        turn.answer(SOMEBODY, 1, "gone")
        house.next_number, house.number_mark = 50, 100

    with pytest.raises(Refused):
        fail(turn, change, Refused("not_found", "no such thing"))
    assert turn.all(ALL) == [("before",), ("waiting",)]
    assert thing.size == 1
    assert turn.control == []
    assert (house.next_number, house.number_mark) == numbers


def test_atomic_takes_back_what_it_reserved(turn: Turn) -> None:
    """The mark of what is reserved is a row, and goes with the others."""
    house = turn.house
    house.next_number, house.number_mark = 101, 101

    def take() -> None:
        house.next_number, house.number_mark = 103, 1_101
        turn.later(INSERT, ("mark",))

    with pytest.raises(Refused):
        fail(turn, take, Refused("not_found", "no such thing"))
    assert (house.next_number, house.number_mark) == (101, 101)


def test_atomic_that_touches_no_row_asks_nothing_of_the_storage(turn: Turn) -> None:
    thing = Thing()
    with turn.atomic():
        turn.put(thing, "size", 2)
    with pytest.raises(Refused):
        fail(turn, lambda: turn.put(thing, "size", 3), Refused("not_found", "no such thing"))
    assert thing.size == 2
    assert turn.writer.statements == 0
    assert not turn.writer.begun


def test_another_error_than_a_refusal_is_left_to_the_batch(turn: Turn) -> None:
    thing = Thing()
    with pytest.raises(ZeroDivisionError):
        fail(turn, lambda: turn.put(thing, "size", 2), ZeroDivisionError())
    assert thing.size == 2, "the executor takes back the whole batch"
    turn.back((0, 0, 0, 0, 0, 0))
    assert thing.size == 1


def test_a_new_batch_knows_its_first_number(turn: Turn) -> None:
    turn.house.next_number = 201
    assert turn.first_number < 201
    turn.start(1_001)
    assert turn.first_number == 201


def test_a_new_batch_has_no_effects_and_nothing_to_take_back(turn: Turn) -> None:
    thing = Thing()
    turn.put(thing, "size", 2)
    turn.answer(SOMEBODY, 1, "old")
    turn.close(SOMEBODY, 1000, "old")
    turn.again.append(lambda _: None)
    turn.house.next_number = 70
    turn.start(2_000)
    assert turn.mark() == (0, 0, 0, 0, 0, 0)
    assert (turn.now, turn.first_number) == (2_000, 70)
    turn.back(turn.mark())
    assert thing.size == 2


def test_the_earliest_wake_counts(turn: Turn) -> None:
    assert turn.wake == FAR
    for when in (70, 50, 60):
        turn.wake_at(when)
    assert turn.wake == 50


def test_an_answer_needs_an_id_and_a_refusal_does_not(turn: Turn) -> None:
    turn.answer(SOMEBODY, UNSET, "nobody asked")
    assert turn.control == []
    turn.answer(SOMEBODY, "x", "well")
    turn.refuse(SOMEBODY, 7, ERROR, "mail.send")
    turn.refuse(SOMEBODY, UNSET, ERROR, "mail.send")
    answer, refusal, event = [frame for _, frame in turn.control]
    assert isinstance(answer, Reply)
    assert (answer.re, answer.ok) == ("x", "well")
    assert isinstance(refusal, Failure)
    assert (refusal.re, refusal.error) == (7, ERROR)
    assert isinstance(event, ErrorEvent)
    assert (event.op, event.error) == ("mail.send", ERROR)


def test_id_zero_is_an_id() -> None:
    assert isinstance(failure(0, ERROR, None), Failure)
    assert isinstance(failure("", ERROR, None), Failure)


def test_an_event_for_somebody_away_goes_nowhere(turn: Turn) -> None:
    one, event = presence(), PeerSynced()
    turn.event(one, event)
    assert turn.control == []
    one.conversation = SOMEBODY
    turn.event(one, event)
    assert turn.control == [(SOMEBODY, event)]


def test_listeners_are_told_in_their_order() -> None:
    operations, heard = Operations(), []
    operations.on("came")(lambda _, who: heard.append(("first", who)))
    operations.on("came")(lambda _, who: heard.append(("second", who)))
    connection = connect("file::memory:")
    one = Turn(Writer(connection), House(), Settings(), FixedChance(), operations)
    one.tell("came", "ann")
    one.tell("nobody listens", "ann")
    connection.close()
    assert heard == [("first", "ann"), ("second", "ann")]
