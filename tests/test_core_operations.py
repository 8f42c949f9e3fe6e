"""The table of operations: complete, each operation once, merged without a clash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from broker.areas import operations as whole
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.wire.errors import CODES
from broker.wire.mail import Ack, Send
from broker.wire.operations import OPERATIONS
from broker.wire.presence import Hello


def nothing(*_: Any) -> None:
    """A handler."""


def test_every_operation_of_the_wire_has_its_handler() -> None:
    assert {request: operation.name for request, operation in whole.table.items()} == {
        request: name for name, request in OPERATIONS.items()
    }


def test_only_hello_is_taken_from_a_stranger() -> None:
    assert [kind for kind, operation in whole.table.items() if operation.greets] == [Hello]


def test_what_reads_has_no_savepoint_and_is_taken_while_draining() -> None:
    reading = [operation for operation in whole.table.values() if operation.reads]
    assert {"broker.stats", "mail.trace"} <= {operation.name for operation in reading}
    assert all(operation.drains and not operation.hot for operation in reading)


def test_work_in_hand_can_be_ended_while_draining_and_none_begun() -> None:
    drains = {operation.name for operation in whole.table.values() if operation.drains}
    assert {"mail.ack", "mail.nack", "mail.extend", "bye"} <= drains
    assert drains.isdisjoint({"mail.send", "mail.claim", "dispatch.create", "delegation.open"})


def test_an_operation_is_handled_once() -> None:
    operations = Operations()
    operations.handle(Send)(nothing)
    with pytest.raises(AssertionError, match=r"mail\.send"):
        operations.handle(Send)(nothing)


def test_two_areas_do_not_handle_the_same() -> None:
    one, other = Operations(), Operations()
    one.handle(Send)(nothing)
    other.handle(Ack)(nothing)
    other.handle(Send)(nothing)
    with pytest.raises(AssertionError):
        one.merge(other)
    assert list(one.table) == [Send], "nothing of it was taken in"


def test_registration_leaves_the_function_as_it_is() -> None:
    operations = Operations()
    assert operations.handle(Send, hot=True)(nothing) is nothing
    assert operations.sweep(nothing) is nothing
    assert operations.settle(nothing) is nothing
    assert operations.on("came")(nothing) is nothing
    operation = operations.table[Send]
    assert (operation.name, operation.function) == ("mail.send", nothing)
    assert (operation.hot, operation.drains, operation.greets) == (True, False, False)


def test_every_outcome_is_counted_from_the_start() -> None:
    operations = Operations()
    operations.handle(Send)(nothing)
    counts = operations.table[Send].counts
    assert counts.keys() == {"ok"} | CODES
    assert not any(counts.values())


def test_merging_keeps_the_order_of_the_areas() -> None:
    whole = Operations()
    calls: list[Any] = []

    def noting(what: str, name: str) -> Callable[[Turn], None]:
        return lambda _: calls.append((what, name))

    for name in ("first", "second"):
        area = Operations()
        area.sweep(noting("sweep", name))
        area.settle(noting("settle", name))
        area.on("came")(noting("came", name))
        hook: Any = name
        area.hooks[name] = hook
        whole.merge(area)
    turn: Any = None
    for step in (*whole.sweeps, *whole.settlers, *whole.listeners["came"]):
        step(turn)
    assert calls == [
        (what, name) for what in ("sweep", "settle", "came") for name in ("first", "second")
    ]
    assert list(whole.hooks) == ["first", "second"]
