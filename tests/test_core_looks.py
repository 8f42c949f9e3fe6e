"""Reads beside the writer: their answers, and what is said of one that failed."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import UNSET
from rig import rig

from broker.areas import operations
from broker.core import looks as looks_module
from broker.core.looks import LOOK_SECONDS, Looks
from broker.core.operations import Looking, Operation
from broker.spread import Spread
from broker.store.sqlite import LookTooLong, StoreFault
from broker.wire.directory import GetBrokerStats
from broker.wire.errors import Refused
from broker.wire.frames import ErrorEvent, Failure, Reply

ENDLESS = """
    WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count)
    SELECT max(n) FROM count
"""


class Saying:
    """A connection that keeps what it is to say."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.reading: list[Any] = []

    def say(self, frame: Any) -> None:
        self.said.append(frame)

    def reads(self, id: Any) -> None:
        """A read under way keeps its id."""
        self.reading.append(id)

    def answered(self, id: Any) -> None:
        self.reading.remove(id)


class Reading:
    """A reader whose looks end when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, float]] = []
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def look(self, function: Any, seconds: float) -> asyncio.Future[Any]:
        self.asked.append((function, seconds))
        return self.future


class Desk:
    """Looks over a reader, and who went on."""

    def __init__(self) -> None:
        self.reader = cast("Any", Reading())
        self.conversation: Any = Saying()
        self.on: list[Any] = []
        self.ill: list[StoreFault] = []
        self.seconds = Spread()
        self.operation = Operation("broker.stats", print, reads=True)
        self.looks = Looks(self.reader, self.on.append, self.ill.append, self.seconds)

    def looking(self, id: Any = 7) -> Looking:
        looking = Looking(lambda _: None)
        looking.operation, looking.request_id = self.operation, id
        return looking

    async def ends(self, settle: Callable[[asyncio.Future[Any]], Any], id: Any = 7) -> Any:
        """A look that ends like this; what was said of it."""
        self.looks.start(self.conversation, self.looking(id))
        assert (self.looks.under_way, self.on) == (1, [])
        settle(self.reader.future)
        await asyncio.sleep(0)
        assert self.looks.under_way == 0
        said = self.conversation.said
        return said[0] if said else None


async def test_an_answer_is_said_and_the_connection_goes_on() -> None:
    desk = Desk()
    said = await desk.ends(lambda future: future.set_result({"a": 1}))
    assert isinstance(said, Reply)
    assert (said.re, said.ok) == (7, {"a": 1})
    assert desk.on == [desk.conversation]
    assert desk.operation.counts["ok"] == 1
    assert desk.reader.asked[0][1] == LOOK_SECONDS
    assert sum(desk.seconds.counts) == 1


async def test_without_an_id_nothing_is_said_of_an_answer() -> None:
    desk = Desk()
    assert await desk.ends(lambda future: future.set_result({}), UNSET) is None
    assert desk.on == [desk.conversation]
    assert desk.operation.counts["ok"] == 1


async def test_who_was_answered_already_goes_on_at_once() -> None:
    desk = Desk()
    desk.looks.start(desk.conversation, None)
    assert desk.on == [desk.conversation]
    assert desk.reader.asked == []


async def test_nothing_is_said_when_the_broker_ends_first() -> None:
    desk = Desk()
    assert await desk.ends(lambda future: future.cancel()) is None
    assert desk.on == []


@pytest.mark.parametrize(
    ("error", "code", "retryable", "logged"),
    [
        (Refused("not_found", "no such thing"), "not_found", False, None),
        (LookTooLong(), "overloaded", True, None),
        (StoreFault(sqlite3.OperationalError("gone")), "unavailable", True, None),
        (ZeroDivisionError("a slip"), "internal", False, "fault of the broker"),
    ],
)
async def test_a_look_that_fails(
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: str,
    retryable: bool,
    logged: str | None,
) -> None:
    desk = Desk()
    with caplog.at_level(logging.ERROR, "broker.looks"):
        said = await desk.ends(lambda future: future.set_exception(error))
    assert isinstance(said, Failure)
    assert (said.re, said.error.code, said.error.retryable) == (7, code, retryable)
    assert desk.on == [desk.conversation], "the connection goes on"
    assert (desk.operation.counts["ok"], desk.operation.counts[code]) == (0, 1)
    assert desk.ill == ([error] if isinstance(error, StoreFault) else []), "the storage's fault"
    assert desk.conversation.reading == []
    assert (logged in caplog.text) if logged else not caplog.records


async def test_a_failure_without_an_id_is_an_event() -> None:
    desk = Desk()
    said = await desk.ends(lambda future: future.set_exception(LookTooLong()), UNSET)
    assert isinstance(said, ErrorEvent)
    assert said.op == "broker.stats"


async def test_a_look_over_its_time_is_overloaded_and_the_next_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        owner, bob = await r.join("owner"), await r.join("bob")
        with monkeypatch.context() as patch:
            patch.setattr(looks_module, "LOOK_SECONDS", 0.0)
            patch.setattr(
                operations.table[GetBrokerStats],
                "function",
                lambda *_: Looking(lambda look: look.one(ENDLESS)),
            )
            read, after = owner.post("broker.stats"), owner.post("group.list")
            other = bob.post("mail.send", to="bob", body=1)
            await r.settle()
        error = owner.reply(read)["error"]
        assert (error["code"], error["retryable"]) == ("overloaded", True)
        assert "ok" in owner.reply(after)
        assert "ok" in bob.reply(other)
        assert r.broker.ready()[0], "a slow read is no fault of the storage"
        assert (await owner.ask("broker.stats"))["presences"]
