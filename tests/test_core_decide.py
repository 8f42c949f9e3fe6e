"""Deciding: who is admitted, what is run, and what is made of an answer or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import UNSET
from rig import FixedChance

from broker.config import Settings
from broker.core.decide import AGAIN_MS, UNAVAILABLE, Decider
from broker.core.house import House
from broker.core.operations import LATER, Looking, Operations
from broker.core.turn import Turn
from broker.store.sqlite import Writer, connect
from broker.wire.codec import Bad
from broker.wire.errors import ErrorBody, Refused
from broker.wire.frames import ErrorEvent, Failure, Reply
from broker.wire.presence import JoinGroup, LeaveGroup, ListGroups, ListPeers

INSERT = "INSERT INTO things VALUES (?)"
ALL = "SELECT name FROM things ORDER BY name"


class Somebody:
    """A connection, as far as deciding looks at it."""

    def __init__(self, presence: Any) -> None:
        self.presence = presence


class Desk:
    """A decider over a table of things, and handlers that do what the test says."""

    def __init__(self, writer: Writer) -> None:
        self.operations = Operations()
        self.seen: list[str] = []
        self.settled: list[list[Any]] = []
        self.operations.handle(JoinGroup)(self._join)
        self.operations.handle(LeaveGroup, hot=True, drains=True)(self._join)
        self.operations.handle(ListGroups, reads=True)(lambda *_: Looking(lambda _: None))
        self.operations.handle(ListPeers, greets=True)(lambda *_: LATER)
        self.operations.settle(lambda turn: self.settled.append(list(turn.stirred)))
        self.turn = Turn(writer, House(), Settings(), FixedChance(), self.operations)
        self.turn.start(1_000)
        self.decider = Decider(self.turn, self.operations)
        self.caller: Any = Somebody(object())
        self.stranger: Any = Somebody(None)

    def _join(self, turn: Turn, _: Any, request: Any) -> Any:
        """Write the name; one with `bad` is refused after that, one with `stir` stirs."""
        self.seen.append(request.group)
        turn.run(INSERT, (request.group,))
        if request.group.startswith("#bad"):
            raise Refused(
                "forbidden", "not this one", close=4403 if "close" in request.group else None
            )
        if request.group.startswith("#stir"):
            box: Any = request.group
            turn.stirred.append(box)
        return {"joined": request.group}

    def decide(self, *requests: Any, who: Any = None) -> list[Any]:
        """The frames that are to leave."""
        self.decider.decide(who or self.caller, list(requests))
        said: list[Any] = []
        for _, frame in self.turn.control:
            if isinstance(frame, list):  # answers, one behind the other
                said += [msgspec.json.decode(answer, type=Reply) for answer in frame]
            else:
                said.append(frame)
        return said

    def counts(self, request: Any) -> dict[str, int]:
        counts = self.operations.table[request].counts
        return {code: count for code, count in counts.items() if count}


@pytest.fixture
def desk() -> Iterator[Desk]:
    connection = connect("file::memory:")
    connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY) STRICT")
    yield Desk(Writer(connection))
    connection.close()


def join(group: str, id: Any = 1) -> JoinGroup:
    return JoinGroup(group=group, id=id)


def test_each_request_sees_what_the_earlier_ones_did(desk: Desk) -> None:
    frames = desk.decide(join("#a", 1), join("#bad", 2), join("#b", 3))
    assert [frame.re for frame in frames] == [1, 2, 3]
    assert [type(frame) for frame in frames] == [Reply, Failure, Reply]
    assert desk.seen == ["#a", "#bad", "#b"]
    assert desk.turn.all(ALL) == [("#a",), ("#b",)], "the refused one has left no row"
    assert desk.counts(JoinGroup) == {"ok": 2, "forbidden": 1}


def test_a_hot_operation_has_no_savepoint(desk: Desk) -> None:
    desk.decide(LeaveGroup(group="#a", id=1), LeaveGroup(group="#bad", id=2))
    assert desk.turn.all(ALL) == [("#a",), ("#bad",)], "it has to refuse before it writes"


def test_a_bad_frame_is_answered_in_its_place(desk: Desk) -> None:
    error = ErrorBody("unknown_op", "no such operation", False)
    bad, nameless = Bad(id=2, op="x", error=error), Bad(op="x", error=error)
    frames = desk.decide(join("#a", 1), bad, nameless, join("#b", 3))
    assert [type(frame) for frame in frames] == [Reply, Failure, ErrorEvent, Reply]
    assert frames[1].error == frames[2].error == error
    assert frames[2].op == "x"


def test_a_stranger_may_only_greet(desk: Desk) -> None:
    (refusal,) = desk.decide(join("#a"), who=desk.stranger)
    assert refusal.error.code == "unauthorized"
    assert "group.join" in refusal.error.message
    assert desk.seen == []
    assert desk.decide(ListPeers(id=2), who=desk.stranger) == [refusal], "it is answered later"
    assert desk.counts(ListPeers) == {"ok": 1}


def test_who_goes_away_takes_only_what_drains(desk: Desk) -> None:
    desk.decider.draining = True
    refusal, answer = desk.decide(join("#a", 1), LeaveGroup(group="#b", id=2))
    assert (refusal.error.code, refusal.error.retry_after_ms) == ("draining", AGAIN_MS)
    assert isinstance(answer, Reply)
    assert desk.seen == ["#b"]


def test_without_an_id_only_a_refusal_is_said(desk: Desk) -> None:
    (event,) = desk.decide(join("#a", UNSET), join("#bad", UNSET))
    assert isinstance(event, ErrorEvent)
    assert (event.op, event.error.code) == ("group.join", "forbidden")
    assert desk.counts(JoinGroup) == {"ok": 1, "forbidden": 1}


def test_a_refusal_may_end_the_connection(desk: Desk) -> None:
    desk.decide(join("#bad"))
    assert desk.turn.closing == []
    desk.decide(join("#bad-close"))
    assert desk.turn.closing == [(desk.caller, 4403, "not this one")]


def test_a_read_is_left_for_after_the_commit(desk: Desk) -> None:
    assert desk.decide(ListGroups(id=9)) == []
    ((conversation, looking),) = desk.turn.lookings
    assert conversation is desk.caller
    assert (looking.request_id, looking.operation.name) == (9, "group.list")
    assert desk.counts(ListGroups) == {}, "how it ends is not known yet"
    assert desk.decider.reads == {ListGroups}


def test_stirred_mailboxes_are_settled_after_each_request(desk: Desk) -> None:
    desk.decide(join("#stir-1", 1), join("#a", 2), join("#stir-2", 3))
    assert desk.settled == [["#stir-1"], ["#stir-2"]]
    assert desk.turn.stirred == []


def test_a_job_is_nobodys_request(desk: Desk) -> None:
    desk.decide(join("#a"))
    asked: list[Any] = []

    def job(turn: Turn) -> None:
        asked.append(turn.conversation)
        box: Any = "box"
        turn.stirred.append(box)

    desk.decider.do(job)
    assert asked == [None]
    assert desk.settled == [["box"]]


def test_who_is_denied_for_a_failed_batch(desk: Desk) -> None:
    error = ErrorBody("bad_frame", "no object", False)
    desk.decider.deny(desk.caller, join("#a", 1), UNAVAILABLE)
    desk.decider.deny(desk.caller, join("#b", UNSET), UNAVAILABLE)
    desk.decider.deny(desk.caller, Bad(id=3, error=error), UNAVAILABLE)
    denied, event, bad = [frame for _, frame in desk.turn.control]
    assert (denied.re, denied.error) == (1, UNAVAILABLE)
    assert (event.op, event.error) == ("group.join", UNAVAILABLE)
    assert bad.error == error, "it is wrong, whatever the storage does"
    assert desk.counts(JoinGroup) == {"unavailable": 2}
