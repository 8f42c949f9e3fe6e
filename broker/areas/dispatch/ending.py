"""How an attempt ends, and what follows: the next attempt, or the end of the dispatch.

Owns: every step of the queue away from `leased`, and from `pending` to its ends. Whoever ends an
attempt says why; that the creator is told is part of the same step.
"""

from __future__ import annotations

from typing import Literal

from broker.areas.dispatch.tell import tell_result
from broker.areas.dispatch.work import Work
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.dispatch import DispatchStatus

sql = Queries(__file__)
END_ATTEMPT = sql.take("end_attempt")
INSERT_ATTEMPT = sql.take("insert_attempt")
NEXT_ATTEMPT = sql.take("next_attempt")
END = sql.take("end")
sql.close()

Reason = Literal["reported", "lease_expired", "ttl", "cancelled"]


def consumed(turn: Turn, work: Work, outcome: bytes | None) -> DispatchStatus:
    """The work is done."""
    turn.run(END_ATTEMPT, ("consumed", None, None, None, None, outcome, *_which(turn, work)))
    return _end(turn, work, "consumed", None, None, None, outcome)


def failed(
    turn: Turn, work: Work, given_reason: str, error: str | None, *, retryable: bool
) -> DispatchStatus:
    """Its worker gave it up, for good or for another attempt."""
    turn.run(
        END_ATTEMPT,
        ("failed", "reported", given_reason, error, retryable, None, *_which(turn, work)),
    )
    if retryable:
        return _go_on(turn, work, "reported", given_reason, error)
    return _end(turn, work, "failed", "reported", given_reason, error)


def lapsed(turn: Turn, work: Work) -> DispatchStatus:
    """Its lease has run out."""
    turn.run(
        END_ATTEMPT,
        ("failed", "lease_expired", None, None, None, None, *_which(turn, work)),
    )
    return _go_on(turn, work, "lease_expired", "lease_expired", None)


def outlived(turn: Turn, work: Work) -> DispatchStatus:
    """Nobody took it before its time was over."""
    turn.run(END_ATTEMPT, ("expired", "ttl", None, None, None, None, *_which(turn, work)))
    return _end(turn, work, "expired", "ttl", "ttl")


def cancelled(turn: Turn, work: Work) -> DispatchStatus:
    """It was withdrawn."""
    turn.run(END_ATTEMPT, ("cancelled", "cancelled", None, None, None, None, *_which(turn, work)))
    return _end(turn, work, "cancelled", "cancelled", "cancelled")


def begin_attempt(turn: Turn, dispatch: int, attempt: int) -> None:
    """The row of a new attempt."""
    turn.run(INSERT_ATTEMPT, (dispatch, attempt, turn.now))


def _go_on(turn: Turn, work: Work, reason: Reason, told: str, error: str | None) -> DispatchStatus:
    """After a failure: the next attempt while there is one and the time is not over."""
    if work.attempt >= work.max_attempts:
        return _end(turn, work, "failed", reason, told, error)
    if work.expires_at is not None and work.expires_at <= turn.now:
        return _end(turn, work, "expired", "ttl", "ttl")
    _step(turn, NEXT_ATTEMPT, (work.id, work.status, work.attempt))
    begin_attempt(turn, work.id, work.attempt + 1)
    if work.expires_at is not None:
        turn.wake_at(work.expires_at)
    return "pending"


def _end(
    turn: Turn,
    work: Work,
    status: DispatchStatus,
    reason: Reason | None,
    told: str | None,
    error: str | None = None,
    outcome: bytes | None = None,
) -> DispatchStatus:
    """The end of the dispatch; `told` is the reason as people read it."""
    _step(turn, END, (status, reason, turn.now, work.id, work.status, work.attempt))
    tell_result(turn, work, status, told, error, outcome)
    return status


def _which(turn: Turn, work: Work) -> tuple[int, int, int]:
    return turn.now, work.id, work.attempt


def _step(turn: Turn, statement: str, values: tuple[object, ...]) -> None:
    """Move the row from where it was found; nobody else can have moved it in this transaction."""
    moved = turn.run(statement, values)
    assert moved == 1, f"{moved} rows moved"
