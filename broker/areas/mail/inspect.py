"""Looking at mail without touching it: trace, list, dead letters.

Owns: what a delivery's life looks like to people. Everything runs on the reading connection.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from broker.areas.directory.boxes import address_of, boxes_of
from broker.areas.mail.deliver import STRETCH_BITS
from broker.areas.mail.records import number
from broker.areas.mail.targets import address
from broker.core.house import Mailbox, Member, Presence
from broker.core.operations import Looking, Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.store.sqlite import Look, Row
from broker.wire.errors import Refused
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

PAGE_STRETCHES: Final = 64
"""How far one page looks; a page may hold less than it could, and still say where to go on."""


def cursor(written: str | None) -> int:
    """Where a list goes on."""
    if written is None:
        return 0
    if not (written.isascii() and written.isdecimal() and len(written) < 19):
        raise Refused("bad_request", f"after: {written[:200]!r} is no cursor of this list")
    return int(written)


@operations.handle(TraceMessage, reads=True)
def trace(turn: Turn, caller: Presence, request: TraceMessage) -> Looking:
    """Show what became of each delivery of a message."""
    message, after = number(request.message, "m"), cursor(request.after)
    member, mesh, steers = caller.member, caller.mesh.id, caller.member.steers

    def look(look: Look) -> Trace:
        row = look.one(MESSAGE, (message,))
        if row is None or row[1] != mesh or not (steers or _took_part(look, row, member)):
            raise Refused("not_found", f"message: no message {request.message[:200]!r}")
        end = message + 2 * row[8]
        rows = look.all(COPIES, (max(message, after), end, request.limit + 1))
        page = rows[: request.limit]
        return Trace(
            message=f"m{message}",
            from_=row[3],
            to=msgspec.json.decode(row[4]) if row[4][:1] == "[" else row[4],
            kind=row[5],
            priority=row[6],
            sent_at=row[7],
            total=row[8],
            deliveries=[_traced(look, one, row[7]) for one in page],
            next=str(page[-1][0]) if len(rows) > len(page) else None,
        )

    return Looking(look)


def _took_part(look: Look, row: Row, member: Member) -> bool:
    """Whether a member sent or received a message."""
    if row[2] == member.id:
        return True
    boxes = msgspec.json.encode(boxes_of(look, member)).decode()
    return look.one(RECEIVED, (row[0], row[8], boxes)) is not None


def _traced(look: Look, row: Row, sent_at: int) -> Traced:
    (seq, mailbox_id, state, failures, claims, last_error, claim) = row[:7]
    (claimed_by, claimed_at, delivered_at, ended_at, extends, extended_at) = row[7:]
    steps = [Step(event="accepted", at=sent_at)]
    for event, at, presence, reason, count in look.all(HISTORY, (seq,)):
        steps.append(
            Step(
                event=event,
                at=at,
                presence=None if presence is None else f"p{presence}",
                reason=reason if event != "extended" else None,
                note=reason if event == "extended" else None,
                count=count if count > 1 else None,
            )
        )
    told = {(step.event, step.at) for step in steps}
    holder = None if claimed_by is None else f"p{claimed_by}"
    if state in ("claimed", "acked") and ("claimed", claimed_at) not in told:
        steps.append(Step(event="claimed", at=claimed_at, presence=holder))
    if extends:
        count = extends if extends > 1 else None
        steps.append(Step(event="extended", at=extended_at, presence=holder, count=count))
    if state == "acked":
        steps.append(Step(event="acked", at=delivered_at, presence=holder))
    elif ended_at is not None and (state, ended_at) not in told:
        steps.append(Step(event=state, at=ended_at, reason=last_error))
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
        history=sorted(steps, key=lambda step: step.at),
    )


@operations.handle(ListMail, reads=True)
def list_mail(turn: Turn, caller: Presence, request: ListMail) -> Looking:
    """List the deliveries of a mailbox without claiming them."""
    box = _box(caller, request.mailbox)
    after = cursor(request.after)
    if request.state == "dead":
        return Looking(lambda look: _dead(look, box, after, request.limit))
    return Looking(lambda look: _page(look, box, after, request.state, request.limit))


@operations.handle(ListDead, reads=True)
def list_dead(turn: Turn, caller: Presence, request: ListDead) -> Looking:
    """List the dead deliveries of a mailbox."""
    box = _box(caller, request.mailbox)
    after = cursor(request.after)
    return Looking(lambda look: _dead(look, box, after, request.limit))


def _box(caller: Presence, written: str | None) -> Mailbox:
    """The mailbox to look into: one's own, or any for an admin."""
    if written is None:
        return caller.box
    box = address(caller.mesh, written, field="mailbox")
    if box.member is not caller.member and not caller.member.steers:
        raise Refused("forbidden", f"mailbox: {written!r} is not yours")
    return box


def _page(look: Look, box: Mailbox, after: int, state: str | None, limit: int) -> Listing:
    """Walk the stretches in which this mailbox has deliveries, in the order of the counter."""
    first = look.all(STRETCHES, (box.id, after >> STRETCH_BITS, PAGE_STRETCHES + 1))
    found: list[Row] = []
    for (stretch,) in first[:PAGE_STRETCHES]:
        low, high = stretch << STRETCH_BITS, (stretch + 1) << STRETCH_BITS
        values = (after, low, high, box.id, state, limit + 1 - len(found))
        found += look.all(IN_STRETCH, values)
        if len(found) > limit:
            return _listing(box, found[:limit], found[limit - 1][0])
    more = first[PAGE_STRETCHES][0] << STRETCH_BITS if len(first) > PAGE_STRETCHES else None
    return _listing(box, found, None if more is None else more - 1)


def _dead(look: Look, box: Mailbox, after: int, limit: int) -> Listing:
    rows = look.all(DEAD, (box.id, after, limit + 1))
    return _listing(box, rows[:limit], rows[limit - 1][0] if len(rows) > limit else None)


def _listing(box: Mailbox, rows: list[Row], after: int | None) -> Listing:
    return Listing(
        deliveries=[_listed(box, *row) for row in rows], next=None if after is None else str(after)
    )


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
