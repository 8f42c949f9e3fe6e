"""Finishing: consumed, failed, cancelled; and what the same call again is told.

Owns: what the holder of a lease may make of it and when it is too late. Everything is measured by
the newest token: an older one changes nothing, whoever shows it.
"""

from __future__ import annotations

from typing import NoReturn

from msgspec import UNSET

from broker.areas.dispatch import ending
from broker.areas.dispatch.sweep import ripe
from broker.areas.dispatch.work import Work, find, lease_end, leased_by
from broker.core.house import Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.dispatch import CancelDispatch, Consume, Fail, Finished
from broker.wire.errors import Refused

sql = Queries(__file__)
ENDED_ATTEMPT = sql.take("ended_attempt")
sql.close()

operations = Operations()

Call = tuple[str, str | None, str | None, int | None, bytes | None]
"""What a finishing call says, as the attempt that it ended keeps it."""


@operations.handle(Consume, drains=True)
def consume(turn: Turn, caller: Presence, request: Consume) -> Finished:
    """The work is done, with this outcome."""
    outcome = None if request.outcome is UNSET else bytes(request.outcome)
    most = turn.settings.limits.body
    if outcome is not None and len(outcome) > most:
        raise Refused("too_large", f"outcome: over {most} bytes")
    work = leased_by(turn, caller, request.dispatch, request.lease_token)
    if work.status != "leased":
        return _again(turn, work, ("consumed", None, None, None, outcome))
    _check_time(turn, work)
    return Finished(status=ending.consumed(turn, work, outcome))


@operations.handle(Fail, drains=True)
def fail(turn: Turn, caller: Presence, request: Fail) -> Finished:
    """The work is given up, for good or for another attempt."""
    work = leased_by(turn, caller, request.dispatch, request.lease_token)
    if work.status != "leased":
        call = ("failed", request.reason, request.error, int(request.retryable), None)
        return _again(turn, work, call)
    _check_time(turn, work)
    status = ending.failed(turn, work, request.reason, request.error, retryable=request.retryable)
    return Finished(status=status)


@operations.handle(CancelDispatch)
def cancel(turn: Turn, caller: Presence, request: CancelDispatch) -> Finished:
    """Work that nobody has leased is withdrawn, by who asked for it or an admin."""
    work = find(turn, caller, request.dispatch)
    if work.created_by != caller.member.id and not caller.member.steers:
        raise Refused("forbidden", "neither the creator of this dispatch nor an admin")
    work = ripe(turn, work)
    if work.status == "leased":
        raise Refused("already_leased", "a worker holds this dispatch")
    if work.status != "pending":
        raise Refused(
            "already_finished",
            f"this dispatch is {work.status}",
            detail={"status": work.status},
        )
    return Finished(status=ending.cancelled(turn, work))


def refuse_ended(turn: Turn, work: Work) -> NoReturn:
    """The newest token, but its attempt is over: its time was, or its holder ended it."""
    if _ended(turn, work)[0] is None:
        raise Refused("lease_expired", "the time of this lease is over")
    raise Refused(
        "already_finished",
        "this lease was ended in another way",
        detail={"status": work.status},
    )


def _check_time(turn: Turn, work: Work) -> None:
    if lease_end(turn, work) <= turn.now:
        raise Refused("lease_expired", "the time of this lease is over")


def _again(turn: Turn, work: Work, call: Call) -> Finished:
    """The attempt of this token is over: a repeat of the call that ended it, or a refusal."""
    if _ended(turn, work) != call:
        refuse_ended(turn, work)
    return Finished(status=work.status, duplicate=True)


def _ended(turn: Turn, work: Work) -> tuple[object, ...]:
    """The call that ended the attempt of the newest token; without a status if time did it."""
    row = turn.one(ENDED_ATTEMPT, (work.id, work.lease_attempt))
    assert row is not None
    return row
