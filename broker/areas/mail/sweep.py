"""What time does to mail: leases that are over, waits that are due, lives that end.

Owns: the sweeps, each a bounded piece that asks to be woken for the next. Nothing here loops or
sleeps; a sweep that has more to do is due again at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from broker.areas.mail.deliver import ready
from broker.areas.mail.ending import end
from broker.areas.mail.giveback import give_back
from broker.areas.mail.records import facts
from broker.areas.mail.told import unseen
from broker.core.house import Claim, Mailbox, Presence
from broker.core.operations import Operations
from broker.core.queue import Letter, Parcel, Queue
from broker.core.turn import FAR, Turn
from broker.store.queries import Queries

sql = Queries(__file__)
DUE = sql.take("due")
READY = sql.take("ready")
NEXT_DUE = sql.take("next_due")
EXPIRING = sql.take("expiring")
NEXT_EXPIRY = sql.take("next_expiry")
RECORD_ENDING = sql.take("record_ending")
NEXT_ENDING = sql.take("next_ending")
ENDING = sql.take("ending")
ENDING_WAITING = sql.take("ending_waiting")
ENDED = sql.take("ended")
sql.close()

operations = Operations()

CHUNK: Final = 500
LEASE_OVER: Final = "lease over"


@operations.sweep
def pass_time(turn: Turn) -> None:
    """All that is due at one instant is due before anything of it is handed over again."""
    end_claims(turn)
    end_waiting(turn)
    end_lives(turn)


def end_claims(turn: Turn) -> None:
    """Leases that are over: the deliveries go back, and whoever waits for them is woken."""
    over: list[Claim] = []
    next_end = FAR
    for claim in _by_end(turn):
        if claim.expires_at > turn.now or len(over) == CHUNK:
            next_end = max(claim.expires_at, turn.now)
            break
        over.append(claim)
    leases = turn.house.leases
    while leases and leases[0][0] <= turn.now and len(over) < CHUNK:
        reminder = heappop(leases)
        turn.undo(heappush, leases, reminder)
        _, seq, number = reminder
        held = turn.house.claims.get(f"d{seq}")
        if held is not None and held.number == number and held.expires_at <= turn.now:
            over.append(held)
    waiting: dict[Presence, set[str]] = {}
    for claim in dict.fromkeys(over):  # what was extended twice may be reminded of twice
        reason = _why(claim, waiting)
        blame = reason == LEASE_OVER
        give_back(turn, claim, "released", blame=blame, reason=reason, lapsed=True)
    turn.wake_at(min(next_end, leases[0][0]) if leases else next_end)


def _why(claim: Claim, waiting: dict[Presence, set[str]]) -> str:
    """Why a lease is over; only a holder that had the delivery is to blame.

    `waiting` keeps, for each holder that was looked at, what has not left for it.
    """
    if claim.restored:
        return "broker restarted"
    holder = claim.presence
    if holder is None:
        return LEASE_OVER
    if holder not in waiting:
        waiting[holder] = unseen(holder)
    return "never handed over" if claim.delivery in waiting[holder] else LEASE_OVER


def _by_end(turn: Turn) -> Iterator[Claim]:
    """Claims with the usual lease, in the order in which they end."""
    return (claim for claim in turn.house.claims.values() if not claim.long)


def end_waiting(turn: Turn) -> None:
    """Delays and backoffs that are over: the deliveries are ready again."""
    rows = turn.all(DUE, (turn.now, CHUNK))
    for seq, mailbox_id, priority, expires_at in rows:
        turn.later(READY, (seq,))
        box = turn.house.boxes.get(mailbox_id)
        if box is not None and seq > box.ended_through:
            ready(turn, unread(seq, box, priority, expires_at))
    if len(rows) == CHUNK:
        turn.wake_at(turn.now)
        return
    (due_at,) = turn.one(NEXT_DUE) or (None,)
    if due_at is not None:
        turn.wake_at(due_at)


def unread(seq: int, box: Mailbox, priority: int, expires_at: int) -> Parcel:
    """A parcel of which only its place is known: it is read when its turn comes."""
    letter = Letter(0, "", "", "", priority, None, None, None, 0, 0, plain=True)
    return Parcel(seq, box, letter, expires_at)


def end_lives(turn: Turn) -> None:
    """What nobody held when its time was over has expired."""
    rows = turn.all(EXPIRING, (turn.now, CHUNK))
    for (seq,) in rows:
        found = facts(turn, seq)
        if found is not None:
            end(turn, found, "expired", "ttl")
            if seq_box := turn.house.boxes.get(found.mailbox_id):
                turn.stirred.append(seq_box)
    if len(rows) == CHUNK:
        turn.wake_at(turn.now)
        return
    (expires_at,) = turn.one(NEXT_EXPIRY) or (None,)
    if expires_at is not None:
        turn.wake_at(expires_at)


@operations.on("mailbox.closed")
def begin_ending(turn: Turn, box: Mailbox, reason: str) -> None:
    """A mailbox is closed: one row now, its deliveries in chunks."""
    if not box.unfinished:
        return
    for claim in [one for one in turn.house.claims.values() if one.box is box]:
        give_back(turn, claim, "released", blame=False, reason=reason)
    turn.put(box, "queue", Queue())
    turn.run(RECORD_ENDING, (box.id, box.ended_through, reason))
    turn.wake_at(turn.now)


@operations.sweep
def end_closed(turn: Turn) -> None:
    """A chunk of what stood in closed mailboxes ends, with its receipts."""
    row = turn.one(NEXT_ENDING)
    if row is None:
        return
    mailbox_id, through, reason = row
    rows = turn.all(ENDING, (mailbox_id, through, CHUNK))
    if not rows:
        rows = turn.all(ENDING_WAITING, (mailbox_id, through, CHUNK))
    for (seq,) in rows:
        found = facts(turn, seq)
        if found is not None:
            end(turn, found, "expired", reason)
    if not rows:
        turn.run(ENDED, (mailbox_id, through))
    turn.wake_at(turn.now)
