"""Pulling: the same phase one, asked for, and possibly waited for.

Owns: `mail.claim` and who waits. Pulling obeys status, and ignores capacity and role precedence.
Where a drainer has room, it was handed the mail before a waiter is served.
"""

from __future__ import annotations

from typing import Any, Final

from broker.areas.mail.handover import claim_parcel, head, lease_of
from broker.areas.mail.targets import address
from broker.areas.mail.told import told
from broker.core.house import Mailbox, Presence, Waiter
from broker.core.operations import LATER, Operations
from broker.core.queue import Letter
from broker.core.turn import FAR, Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.frames import encode
from broker.wire.mail import Claim, Claimed, Delivery

sql = Queries(__file__)
LENGTH = sql.take("length")
sql.close()

operations = Operations()

ENVELOPE: Final = 1_024
"""What an answer has around its deliveries."""
AROUND: Final = 2_048
"""More than a delivery has around its body and `meta`: names, numbers, a kind in escapes."""


@operations.handle(Claim)
def claim(turn: Turn, caller: Presence, request: Claim) -> Any:
    """Pull deliveries from a mailbox, waiting for the first if there is none."""
    if not isinstance(turn.request_id, (int, str)):
        raise Refused("bad_request", "id: a claim hands over in its answer, and needs one")
    lease_ms = lease_of(request.lease_ms, turn.settings.mail.lease_ms)
    boxes = _boxes(caller, request.mailbox)
    if request.wait_ms and caller.id in turn.house.waiters:
        raise Refused("bad_request", "wait_ms: a claim of this connection is waiting already")
    found = take(turn, caller, boxes, request.max, lease_ms)
    conversation = turn.conversation
    if found or not request.wait_ms or conversation is None or turn.draining:
        return Claimed(deliveries=found)
    until = turn.now + request.wait_ms
    waiter = Waiter(caller, turn.request_id, boxes, request.max, lease_ms, until)
    turn.put(conversation, "waits", turn.request_id)
    turn.enter(turn.house.waiters, caller.id, waiter)
    for box in boxes:
        turn.put(box, "waiters", (*box.waiters, waiter))
    turn.wake_at(until)
    return LATER


def _boxes(caller: Presence, written: str | None) -> tuple[Mailbox, ...]:
    """The mailboxes that this presence may pull from, of those it asks for."""
    member = caller.member
    if written is None:
        return tuple(dict.fromkeys((caller.box, member.box)))
    box = address(member.mesh, written, field="mailbox")
    if box.member is not member or not (caller.observe or box is caller.box or box is member.box):
        raise Refused("forbidden", f"mailbox: {written!r} is not drained by {caller.box.address!r}")
    return (box,)


def take(
    turn: Turn, caller: Presence, boxes: tuple[Mailbox, ...], most: int, lease_ms: int
) -> list[Delivery]:
    """Claim up to so many, as many as fit one frame, and at least one if there is one."""
    found: list[Delivery] = []
    room = turn.settings.limits.frame - ENVELOPE
    while len(found) < most:
        heads = [
            (-parcel.letter.priority, box is not caller.box, parcel.seq, parcel)
            for box in boxes
            if (parcel := head(turn, box)) is not None
            and parcel.letter.priority >= caller.takes_from
        ]
        if not heads:
            break
        parcel = min(heads)[3]
        if found and _size(turn, parcel.letter) > room:
            break
        held = claim_parcel(turn, parcel, caller, lease_ms)
        one = told(turn, held, parcel)
        found.append(one)
        room -= len(encode(one)) + 1
    return found


def _size(turn: Turn, letter: Letter) -> int:
    """More than a delivery of this message needs in an answer."""
    if letter.body is None:
        (length,) = turn.one(LENGTH, (letter.id,)) or (0,)
    else:
        length = len(letter.body)
    return int(length) + len(letter.meta or b"") + AROUND


@operations.settle
def serve_waiters(turn: Turn) -> None:
    """Somebody waits, and no drainer has taken what came."""
    for box in tuple(dict.fromkeys(turn.stirred)):
        for waiter in box.waiters:
            conversation = waiter.caller.conversation
            if conversation is None or conversation.closing:  # known to be gone
                continue
            found = take(turn, waiter.caller, waiter.boxes, waiter.most, waiter.lease_ms)
            if found:
                stop_waiting(turn, waiter, found)


def stop_waiting(turn: Turn, waiter: Waiter, found: list[Delivery]) -> None:
    """Answer a claim that waits."""
    turn.strike(turn.house.waiters, waiter.caller.id)
    for box in waiter.boxes:
        turn.put(box, "waiters", tuple(one for one in box.waiters if one is not waiter))
    conversation = waiter.caller.conversation
    if conversation is not None:
        turn.answer(conversation, waiter.request_id, Claimed(deliveries=found))
        turn.answered.append((conversation, waiter.request_id))


@operations.on("presence.left")
@operations.on("presence.away")
def forget_waiter(turn: Turn, presence: Presence) -> None:
    """A connection that is gone waits no more."""
    waiter = turn.house.waiters.get(presence.id)
    if waiter is not None:
        stop_waiting(turn, waiter, [])


@operations.on("presence.updated")
def wake_waiter(turn: Turn, presence: Presence) -> None:
    """A presence takes other priorities from now on: it may wait for what is there already."""
    waiter = turn.house.waiters.get(presence.id)
    if waiter is not None:
        turn.stirred.extend(waiter.boxes)


@operations.on("mailbox.closed")
def forget_waiters(turn: Turn, box: Mailbox, reason: str) -> None:
    """Nothing more comes from a closed mailbox."""
    for waiter in box.waiters:
        left = tuple(one for one in waiter.boxes if one is not box)
        if left:
            turn.put(waiter, "boxes", left)
        else:
            stop_waiting(turn, waiter, [])


@operations.sweep
def end_waits(turn: Turn) -> None:
    """A wait is over: the answer is empty."""
    next_end = FAR
    for waiter in tuple(turn.house.waiters.values()):
        if waiter.until <= turn.now:
            stop_waiting(turn, waiter, [])
        else:
            next_end = min(next_end, waiter.until)
    turn.wake_at(next_end)


@operations.on("broker.draining")
def end_all_waits(turn: Turn) -> None:
    """The broker goes away: whoever waits is answered."""
    for waiter in tuple(turn.house.waiters.values()):
        stop_waiting(turn, waiter, [])
