"""What time does to dispatches: leases that run out, work whose time is over before it is taken.

Owns: the sweep, a bounded piece that asks to be woken for the next, and the same for one dispatch
that is looked at before the sweep has come to it. What follows is `ending`'s.
"""

from __future__ import annotations

from typing import Final

from broker.areas.dispatch import ending
from broker.areas.dispatch.work import BY_ID, Work, floor, lease_end
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
NEXT_DUE = sql.take("next_due")
NEXT_LEASE = sql.take("next_lease")
LAPSED = sql.take("lapsed")
OUTLIVED = sql.take("outlived")
sql.close()

operations = Operations()

CHUNK: Final = 100  # some thousand statements with their mails: a few milliseconds


def ripe(turn: Turn, work: Work) -> Work:
    """The dispatch as it is now, if its time is over and the sweep has not come to it yet."""
    if work.status == "leased" and lease_end(turn, work) <= turn.now:
        ending.lapsed(turn, work)
    elif work.status == "pending" and work.expires_at is not None and work.expires_at <= turn.now:
        ending.outlived(turn, work)
    else:
        return work
    row = turn.one(BY_ID, (work.mesh_id, work.id))
    assert row is not None
    return Work(*row)


@operations.sweep
def end_times(turn: Turn) -> None:
    """A chunk of what is over; then sleep until the next one is."""
    lease_expires_at, expires_at = turn.one(NEXT_DUE) or (None, None)
    if lease_expires_at is not None:
        _end_leases(turn, lease_expires_at)
    if expires_at is not None and expires_at <= turn.now:
        rows = turn.all(OUTLIVED, (turn.now, CHUNK))
        for row in rows:
            ending.outlived(turn, Work(*row))
        turn.wake_at(turn.now)
    elif expires_at is not None:
        turn.wake_at(expires_at)


def _end_leases(turn: Turn, first: int) -> None:
    """Leases from before the start stay untouched until the floor, whatever their rows say."""
    if first > turn.now:
        turn.wake_at(first)
        return
    standing = floor(turn)
    least = turn.house.incarnation if turn.now < standing else 0
    rows = turn.all(LAPSED, (turn.now, least, CHUNK))
    for row in rows:
        ending.lapsed(turn, Work(*row))
    if rows:
        turn.wake_at(turn.now)
        return
    (after,) = turn.one(NEXT_LEASE, (turn.now,)) or (None,)
    turn.wake_at(standing if after is None else min(after, standing))
