"""Clearing up: a sender that cancels, an owner that redrives or drops.

Owns: the changes of a delivery's state that people ask for, one by one or a mailbox at a time.
"""

from __future__ import annotations

from broker.areas.directory.boxes import reach_back
from broker.areas.mail.deliver import ready
from broker.areas.mail.ending import end
from broker.areas.mail.records import Facts, facts, number, owner, write_history
from broker.areas.mail.sweep import unread
from broker.areas.mail.targets import mailbox_of
from broker.core.house import Mailbox, Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.mail import Cancel, Cancelled, Changed, Drop, Redrive

sql = Queries(__file__)
MESSAGE = sql.take("message")
COPIES = sql.take("copies")
DEAD = sql.take("dead")
READY = sql.take("ready")
WAITING = sql.take("waiting")
REVIVE = sql.take("revive")
ENDING = sql.take("ending")
sql.close()

operations = Operations()


@operations.handle(Cancel)
def cancel(turn: Turn, caller: Presence, request: Cancel) -> Cancelled:
    """Stop the deliveries of an own message that nobody holds."""
    message = number(request.message, "m")
    row = turn.one(MESSAGE, (message,))
    if row is None or row[0] != caller.member.id:
        raise Refused("not_found", f"message: no message {request.message[:200]!r} of yours")
    return cancel_message(turn, message)


def cancel_message(turn: Turn, message: int) -> Cancelled:
    """Stop what nobody holds of a message; what was cancelled before counts as neither."""
    row = turn.one(MESSAGE, (message,))
    cancelled = too_late = 0
    for seq, state in turn.all(COPIES, (message, row[1])) if row else ():
        found = facts(turn, seq) if state == "queued" else None
        if found is not None:
            end(turn, found, "cancelled", "cancelled")
            cancelled += 1
        elif state != "cancelled":
            too_late += 1
    return Cancelled(cancelled=cancelled, too_late=too_late)


def _box(turn: Turn, caller: Presence, written: str) -> Mailbox:
    """A mailbox that the caller may clear, with all that is in it."""
    box = mailbox_of(caller, written)
    _reach_back(turn, box)
    return box


def _reach_back(turn: Turn, box: Mailbox) -> None:
    """Dead letters from before a mailbox was closed are within reach when it is open again."""
    if box.ended_through and turn.one(ENDING, (box.id,)) is None:
        reach_back(turn, box)


def _one(turn: Turn, caller: Presence, written: str) -> Facts:
    """A delivery that the caller may clear."""
    found = facts(turn, number(written, "d"))
    if (
        found is None
        or found.mesh_id != caller.mesh.id
        or not (caller.member.steers or owner(turn, found.mailbox_id) == caller.member.id)
    ):
        raise Refused("not_found", f"delivery: no delivery {written[:200]!r}")
    return found


@operations.handle(Redrive)
def redrive(turn: Turn, caller: Presence, request: Redrive) -> Changed:
    """Put a dead delivery, or those of a mailbox, back into the queue as if new."""
    if request.delivery is not None:
        found = _one(turn, caller, request.delivery)
        return Changed(count=int(_revive(turn, found)), more=False)
    box = _box(turn, caller, request.mailbox or "")
    rows = turn.all(DEAD, (box.id, box.ended_through, turn.now, request.limit + 1))
    count = 0
    for (seq,) in rows[: request.limit]:
        found_or_none = facts(turn, seq)
        if found_or_none is not None:
            count += _revive(turn, found_or_none)
    return Changed(count=count, more=len(rows) > request.limit)


def _revive(turn: Turn, found: Facts) -> bool:
    box = turn.house.boxes.get(found.mailbox_id)
    if found.state != "dead" or box is None:
        return False
    _reach_back(turn, box)
    if found.seq <= box.ended_through:
        return False
    expires_at = turn.now + found.expires_at - found.sent_at
    turn.later(REVIVE, (expires_at, found.seq))
    write_history(turn, found.seq, "redriven", turn.now)
    turn.put(box, "unfinished", box.unfinished + 1)
    turn.wake_at(expires_at)
    ready(turn, unread(found.seq, box, found.priority, expires_at))
    return True


@operations.handle(Drop)
def drop(turn: Turn, caller: Presence, request: Drop) -> Changed:
    """End a delivery, or the dead or queued ones of a mailbox, as cancelled."""
    before = max(turn.now - (request.older_than_ms or 0), 0)
    if request.delivery is not None:
        found = _one(turn, caller, request.delivery)
        wanted = ("dead", "queued") if request.state is None else (request.state,)
        fits = found.state in wanted and found.sent_at <= before
        if fits:
            end(turn, found, "cancelled", "dropped")
        return Changed(count=int(fits), more=False)
    box = _box(turn, caller, request.mailbox or "")
    most = request.limit + 1
    if request.state == "queued":
        rows = turn.all(READY, (box.id, box.ended_through, before, most))
        rows += turn.all(WAITING, (box.id, box.ended_through, before, most - len(rows)))
    else:
        rows = turn.all(DEAD, (box.id, box.ended_through, before, most))
    for (seq,) in rows[: request.limit]:
        found_or_none = facts(turn, seq)
        if found_or_none is not None:
            end(turn, found_or_none, "cancelled", "dropped")
    return Changed(count=min(len(rows), request.limit), more=len(rows) == most)
