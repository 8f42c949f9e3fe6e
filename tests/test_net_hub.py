"""What connections share: one flush for all that have something to say, and who is still there."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from net_desk import Clock, Desk
from net_peer import LIMITS, App

from broker.net.hub import Hub


class Line:
    """A line that only says what was asked of it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[str] = []
        self.fails = fails

    def flush(self) -> None:
        self.asked.append("flush")
        if self.fails:
            raise ZeroDivisionError

    def close(self, code: int, reason: str) -> None:
        self.asked.append("close")

    def abort(self) -> None:
        self.asked.append("abort")


def made() -> tuple[Hub, Clock]:
    clock = Clock()
    loop = cast("asyncio.AbstractEventLoop", clock)
    return Hub(loop, LIMITS, App().hooks, frozenset()), clock


def test_lines_are_flushed_once_at_the_end_of_the_turn() -> None:
    hub, clock = made()
    lines = [Line(), Line()]
    for line in lines:
        hub.touch(line)
    assert len(clock.soon) == 1
    clock.turn()
    assert [line.asked for line in lines] == [["flush"], ["flush"]]
    hub.touch(lines[0])
    clock.turn()
    assert len(lines[0].asked) == 2


def test_a_flush_may_come_early() -> None:
    hub, clock = made()
    line = Line()
    hub.touch(line)
    hub.flush()
    hub.touch(line)
    assert len(clock.soon) == 1
    clock.turn()
    assert line.asked == ["flush", "flush"]
    hub.flush()
    assert line.asked == ["flush", "flush"]


def test_a_line_that_fails_does_not_take_others_along(caplog: pytest.LogCaptureFixture) -> None:
    hub, clock = made()
    broken, fine = Line(fails=True), Line()
    hub.touch(broken)
    hub.touch(fine)
    clock.turn()
    assert broken.asked == ["flush", "abort"]
    assert fine.asked == ["flush"]
    assert "ZeroDivisionError" in caplog.text


async def test_waiting_until_no_line_is_left() -> None:
    hub, _ = made()
    await hub.emptied()
    line = Line()
    hub.lines.add(line)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(hub.emptied()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        hub.forget(line)
    assert hub.counters.closed == 1


def test_a_stranger_is_counted_as_neither_opened_nor_closed() -> None:
    desk = Desk.made(upgrade=False)
    assert len(desk.hub.strangers) == 1
    desk.line.connection_lost(None)
    desk.line.connection_lost(None)
    assert (len(desk.hub.strangers), len(desk.hub.lines)) == (0, 0)
    assert (desk.hub.counters.opened, desk.hub.counters.closed) == (0, 0)


def test_a_line_leaves_once() -> None:
    desk = Desk.made()
    assert (len(desk.hub.strangers), len(desk.hub.lines)) == (0, 1)
    desk.line.connection_lost(None)
    desk.line.connection_lost(None)
    assert (len(desk.hub.strangers), len(desk.hub.lines)) == (0, 0)
    assert (desk.hub.counters.opened, desk.hub.counters.closed) == (1, 1)
    assert desk.talk.losses == 1
