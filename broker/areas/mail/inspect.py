"""Looking at mail without touching it: trace, list, dead letters.

Owns: what a delivery's life looks like to people. Everything runs on the reading connection.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from broker.areas.directory.boxes import address_of, boxes_of
from broker.areas.mail.deliver import STRETCH_BITS
from broker.areas.mail.records import number
from broker.areas.mail.targets import mailbox_of
from broker.core.house import Mailbox, Member, Presence
from broker.core.operations import Looking, Operations
from broker.core.pages import page, position
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.store.sqlite import Look, Row
from broker.wire.errors import Refused
from broker.wire.frames import encode
from broker.wire.mail import (
    ListDead,
    Listed,
    Listing,
    ListMail,
    Step,
    Trace,
    Traced,
    TraceMessage,
)

sql = Queries(__file__)
MESSAGE = sql.take("message")
RECEIVED = sql.take("received")
COPIES = sql.take("copies")
HISTORY = sql.take("history")
STRETCHES = sql.take("stretches")
IN_STRETCH = sql.take("in_stretch")
DEAD = sql.take("dead")
sql.close()

operations = Operations()

NOUN: Final = "delivery"
BEFORE_A_CLAIM: Final = frozenset({"nacked", "released", "dead", "redriven"})
"""Steps behind which the claim stands that the row itself knows: all but those made under it."""
MOST_STEPS: Final = 1_000
"""Of one life; whoever extends with a note every second for a day has written many more."""
AROUND_HISTORY: Final = 40 * 1_024
"""What else a trace says of a delivery: names, and an error that may be all escapes."""
PAGE_STRETCHES: Final = 64
"""How far one page looks; a page may hold less than it could, and still say where to go on."""


def cursor(written: str | None) -> int:
    """Behind which delivery a list goes on."""
    place = position(NOUN, written) or "0"
    if not (place.isascii() and place.isdecimal() and len(place) < 19):
        raise Refused("bad_request", f"after: {place[:100]!r} is no cursor of this list")
    return int(place)


@operations.handle(TraceMessage, reads=True)
def trace(turn: Turn, caller: Presence, request: TraceMessage) -> Looking:
    """Show what became of each delivery of a message."""
    message, after = number(request.message, "m"), cursor(request.after)
    member, mesh, steers = caller.member, caller.mesh.id, caller.member.steers
    frame = turn.settings.limits.frame

    def look(look: Look) -> Trace:
        row = look.one(MESSAGE, (message,))
        if row is None or row[1] != mesh or not (steers or _took_part(look, row, member)):
            raise Refused("not_found", f"message: no message {request.message[:200]!r}")
        end = message + 2 * row[8]
        rows = look.all(COPIES, (max(message, after), end, request.limit + 1))
        room = frame - len(row[4])  # a thousand targets may be half a frame
        traced = ((str(one[0]), _traced(look, one, row[7], room)) for one in rows)
        deliveries, more = page(NOUN, traced, request.limit, room)
        return Trace(
            message=f"m{message}",
            from_=row[3],
            to=msgspec.json.decode(row[4]) if row[4][:1] == "[" else row[4],
            kind=row[5],
            priority=row[6],
            sent_at=row[7],
            total=row[8],
            deliveries=deliveries,
            next=more,
        )

    return Looking(look)


def _took_part(look: Look, row: Row, member: Member) -> bool:
    """Whether a member sent or received a message."""
    if row[2] == member.id:
        return True
    boxes = msgspec.json.encode(boxes_of(look, member)).decode()
    return look.one(RECEIVED, (row[0], row[8], boxes)) is not None


def _traced(look: Look, row: Row, sent_at: int, frame: int) -> Traced:
    (seq, mailbox_id, state, failures, claims, last_error, claim) = row[:7]
    claimed_at, delivered_at = row[8:10]
    return Traced(
        delivery=f"d{seq}",
        mailbox=address_of(look, mailbox_id),
        seq=seq,
        state=state,
        failures=failures,
        claims=claims,
        last_error=last_error,
        claim_id=None if claim is None else f"c{claim}",
        claimed_at=claimed_at,
        delivered_at=delivered_at,
        history=_newest(_life(look, row, sent_at), frame - AROUND_HISTORY),
    )


def _life(look: Look, row: Row, sent_at: int) -> list[Step]:
    """All steps of a delivery: those that were written down, and those that its row tells."""
    seq, state, last_error = row[0], row[2], row[5]
    claimed_by, claimed_at, delivered_at, ended_at, extends, extended_at = row[7:]
    written = [_step(*one) for one in reversed(look.all(HISTORY, (seq, MOST_STEPS)))]
    steps = [Step(event="accepted", at=sent_at), *written]
    holder = None if claimed_by is None else f"p{claimed_by}"
    if state in ("claimed", "acked"):
        ends = [place for place, step in enumerate(steps) if step.event in BEFORE_A_CLAIM]
        last = ends[-1] if ends else 0
        # A claim that had lapsed when it was acked is written down already, with its end.
        if not ends or steps[last].at <= claimed_at:
            steps.insert(last + 1, Step(event="claimed", at=claimed_at, presence=holder))
    if extends:
        count = extends if extends > 1 else None
        steps.append(Step(event="extended", at=extended_at, presence=holder, count=count))
    if state == "acked":
        steps.append(Step(event="acked", at=delivered_at, presence=holder))
    elif ended_at is not None and not any(step.event == state for step in written):
        steps.append(Step(event=state, at=ended_at, reason=last_error))
    steps.sort(key=lambda step: step.at)
    return steps


def _step(event: Any, at: int, presence: int | None, reason: str | None, count: int) -> Step:
    """A step off the straight path, as it was written down."""
    return Step(
        event=event,
        at=at,
        presence=None if presence is None else f"p{presence}",
        reason=reason if event != "extended" else None,
        note=reason if event == "extended" else None,
        count=count if count > 1 else None,
    )


def _newest(steps: list[Step], room: int) -> list[Step]:
    """The beginning of a life and its newest steps, as many as a frame has room for."""
    kept: list[Step] = []
    for step in reversed(steps[1:]):
        room -= len(encode(step)) + 1
        if room < 0:
            break
        kept.append(step)
    return [steps[0], *reversed(kept)]


@operations.handle(ListMail, reads=True)
def list_mail(turn: Turn, caller: Presence, request: ListMail) -> Looking:
    """List the deliveries of a mailbox without claiming them."""
    box = _box(caller, request.mailbox)
    after = cursor(request.after)
    state, limit, frame = request.state, request.limit, turn.settings.limits.frame
    if state == "dead":
        return Looking(lambda look: _dead(look, box, after, limit, frame))
    return Looking(lambda look: _page(look, box, after, state, limit, frame))


@operations.handle(ListDead, reads=True)
def list_dead(turn: Turn, caller: Presence, request: ListDead) -> Looking:
    """List the dead deliveries of a mailbox."""
    box = _box(caller, request.mailbox)
    after = cursor(request.after)
    limit, frame = request.limit, turn.settings.limits.frame
    return Looking(lambda look: _dead(look, box, after, limit, frame))


def _box(caller: Presence, written: str | None) -> Mailbox:
    """The mailbox to look into: one's own, or any for an admin."""
    return caller.box if written is None else mailbox_of(caller, written)


def _page(
    look: Look, box: Mailbox, after: int, state: str | None, limit: int, frame: int
) -> Listing:
    """Walk the stretches in which this mailbox has deliveries, in the order of the counter."""
    first = look.all(STRETCHES, (box.id, after >> STRETCH_BITS, PAGE_STRETCHES + 1))
    found: list[Row] = []
    for (stretch,) in first[:PAGE_STRETCHES]:
        low, high = stretch << STRETCH_BITS, (stretch + 1) << STRETCH_BITS
        values = (after, low, high, box.id, state, limit + 1 - len(found))
        found += look.all(IN_STRETCH, values)
        if len(found) > limit:
            break
    listing = _listing(box, found, limit, frame)
    if listing.next is None and len(first) > PAGE_STRETCHES:
        listing.next = f"{NOUN}:{(first[PAGE_STRETCHES][0] << STRETCH_BITS) - 1}"
    return listing


def _dead(look: Look, box: Mailbox, after: int, limit: int, frame: int) -> Listing:
    return _listing(box, look.all(DEAD, (box.id, after, limit + 1)), limit, frame)


def _listing(box: Mailbox, rows: list[Row], limit: int, frame: int) -> Listing:
    listed = ((str(row[0]), _listed(box, *row)) for row in rows)
    deliveries, more = page(NOUN, listed, limit, frame)
    return Listing(deliveries=deliveries, next=more)


def _listed(box: Mailbox, seq: int, message: int, sender: str, kind: str, *rest: Any) -> Listed:
    priority, state, failures, last_error, sent_at, due_at, claimed_at, delivered_at = rest
    ready_at = None
    if state == "queued":
        ready_at = sent_at if due_at is None else due_at
    return Listed(
        delivery=f"d{seq}",
        message=f"m{message}",
        mailbox=box.address,
        seq=seq,
        from_=sender,
        kind=kind,
        priority=priority,
        state=state,
        failures=failures,
        last_error=last_error,
        sent_at=sent_at,
        ready_at=ready_at,
        claimed_at=claimed_at,
        delivered_at=delivered_at,
    )
