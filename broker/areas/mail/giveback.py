"""A claim that ends without an ack: nacked, released, or its lease over.

Owns: what counts as a failure, how long a delivery then waits, and when it is given up.

    nacked with blame, lease over              a failure
    nacked without blame, bye, replaced,
    member or token gone, broker restart       no failure; from the third on it waits all the same
"""

from __future__ import annotations

from typing import Final, NamedTuple

from broker.areas.mail.deliver import ready
from broker.areas.mail.ending import end
from broker.areas.mail.handover import unhold
from broker.areas.mail.records import (
    Facts,
    facts,
    open_box,
    own_delivery,
    write_claim,
    write_history,
)
from broker.areas.mail.settle import rehold
from broker.core.house import Claim, Presence
from broker.core.operations import Operations
from broker.core.queue import Letter, Parcel
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.mail import DeliveryState, Nack, Nacked

sql = Queries(__file__)
QUEUE_AGAIN = sql.take("queue_again")
BURY = sql.take("bury")
sql.close()

operations = Operations()

FREE_RETURNS: Final = 3
"""Blameless returns from this one on wait: something is going round in circles."""
LARGEST_POWER: Final = 20
EXHAUSTED: Final = "claims_exhausted"


class Returned(NamedTuple):
    """Where a delivery is after it was given back."""

    state: DeliveryState
    failures: int
    due_at: int | None


def give_back(
    turn: Turn,
    claim: Claim,
    event: str,
    *,
    blame: bool,
    reason: str | None = None,
    delay_ms: int | None = None,
    dead: bool = False,
    lapsed: bool = False,
) -> Returned:
    """End a claim without an ack. A lapsed one can still be acked until somebody claims anew."""
    found = facts(turn, claim.seq)
    assert found is not None, claim.delivery
    presence = claim.presence
    let_go(turn, claim)
    if presence is not None:
        stir_around(turn, presence)
    write_claim(turn, found)
    write_history(turn, claim.seq, event, turn.now, found.claimed_by, reason)
    failures = found.failures + blame
    over = _over(turn, found, failures, dead=dead, reason=reason)
    error = reason if blame or dead else None
    if over is not None:
        turn.later(BURY, (failures, EXHAUSTED if over[1] == EXHAUSTED else error, claim.seq))
        end(turn, found, *over)
        return Returned(over[0], failures, None)
    wait = _wait(turn, found, failures, blame=blame, delay_ms=delay_ms)
    due_at = turn.now + wait if wait else None
    kept = claim.number if lapsed else None
    turn.later(QUEUE_AGAIN, (failures, due_at, error, kept, claim.seq))
    box = claim.box
    turn.wake_at(min(due_at or found.expires_at, found.expires_at))
    if due_at is None and open_box(turn, found) is not None:
        unread = Letter(
            found.message, "", "", found.kind, found.priority, None, None, None, 0, 0, plain=True
        )
        ready(turn, Parcel(claim.seq, box, unread, found.expires_at))
    return Returned("queued", failures, due_at)


def let_go(turn: Turn, claim: Claim) -> None:
    """Forget a claim; its delivery stays unfinished."""
    turn.undo(_hold_again, turn, claim)
    unhold(turn.house, claim)


def _hold_again(turn: Turn, claim: Claim) -> None:
    rehold(turn.house, claim)
    claim.box.unfinished -= 1


def stir_around(turn: Turn, presence: Presence) -> None:
    """A presence has room again."""
    for drained in presence.drains:
        if drained.queue.ready:
            turn.stirred.append(drained)


def _over(
    turn: Turn, found: Facts, failures: int, *, dead: bool, reason: str | None
) -> tuple[DeliveryState, str | None] | None:
    """How and why a delivery ends instead of going back, if it does."""
    if dead:
        return "dead", reason or "rejected"
    if failures >= found.max_attempts:
        return "dead", "max_attempts"
    if found.claims >= turn.settings.mail.max_claims:
        return "dead", EXHAUSTED
    if found.expires_at <= turn.now:
        return "expired", "ttl"
    return None


def _wait(turn: Turn, found: Facts, failures: int, *, blame: bool, delay_ms: int | None) -> int:
    """How long a delivery waits before it may be handed over again."""
    returns = found.claims - failures
    if blame:
        return backoff(turn, failures - 1) if delay_ms is None else delay_ms
    least = backoff(turn, returns - FREE_RETURNS) if returns >= FREE_RETURNS else 0
    return max(least, delay_ms or 0)


def backoff(turn: Turn, power: int) -> int:
    """`mail.backoff_ms` doubled so many times, with jitter, within its limit."""
    mail = turn.settings.mail
    full = mail.backoff_ms * 2 ** min(power, LARGEST_POWER)
    return min(int(full * turn.chance.jitter()), mail.backoff_max_ms)


def live_claim(turn: Turn, caller: Presence, delivery: str, claim: str) -> Claim:
    """The claim that nack and extend need: the newest of the delivery, its lease not over."""
    held = turn.house.claims.get(delivery)
    if held is None or held.member is not caller.member:
        own_delivery(turn, caller, delivery)
    elif held.id == claim and held.expires_at > turn.now:
        return held
    raise Refused("stale_claim", f"claim: {claim[:200]!r} does not hold {delivery[:200]!r} now")


@operations.handle(Nack, drains=True)
def nack(turn: Turn, caller: Presence, request: Nack) -> Nacked:
    """Give a delivery back to its queue, or bury it."""
    claim = live_claim(turn, caller, request.delivery, request.claim)
    back = give_back(
        turn,
        claim,
        "nacked",
        blame=request.blame,
        reason=request.reason,
        delay_ms=request.delay_ms,
        dead=request.dead,
    )
    ready_at = None
    if back.state == "queued":
        ready_at = turn.now if back.due_at is None else back.due_at
    return Nacked(state=back.state, failures=back.failures, ready_at=ready_at)


@operations.on("presence.left")
def release_all(turn: Turn, presence: Presence) -> None:
    """A presence has left by bye or was made to leave: what it held goes back without blame."""
    for claim in sorted(presence.held.values(), key=lambda one: one.seq):
        give_back(turn, claim, "released", blame=False, reason="presence left")
