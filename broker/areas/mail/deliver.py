"""Deliveries as they begin: in a drainer's hands at once, or in the queue of their mailbox.

Owns: the first row of a delivery and its place in memory. Whom a message reaches is
`targets`' to say.
"""

from __future__ import annotations

from typing import Final

from broker.areas.mail.handover import born_claimed, ready_drainer
from broker.areas.mail.targets import Reached, transport
from broker.core.house import Mailbox
from broker.core.queue import Letter, Parcel
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.mail import Copy

sql = Queries(__file__)
INSERT_QUEUED = sql.take("insert_queued")
INSERT_REFUSED = sql.take("insert_refused")
RECORD_STRETCH = sql.take("record_stretch")
sql.close()

LISTED: Final = 100
WORK: Final = 50
STRETCH_BITS: Final = 14  # a stretch of 16,384 numbers is looked through in about a millisecond


def life_ms(turn: Turn, priority: int) -> int:
    """How long a delivery lives that nobody takes: news is stale sooner than work."""
    mail = turn.settings.mail
    return mail.ttl_ms if priority >= WORK else mail.info_ttl_ms


def deliver(
    turn: Turn, letter: Letter, reached: Reached, expires_at: int, delay_ms: int = 0
) -> list[Copy]:
    """One delivery in each mailbox: in its drainer's hands at once, or in the queue."""
    seq = letter.id + 1
    copies: list[Copy] = []
    for box, target, direct in reached:
        if seq >> STRETCH_BITS != box.stretch:
            record_stretch(turn, box, seq >> STRETCH_BITS)
        written = None if target == letter.target else target
        full = not direct and box.unfinished >= turn.settings.mail.max_depth
        presence = None if delay_ms or full else ready_drainer(box, letter.priority)
        listed = len(copies) < LISTED
        if presence is not None:
            claim = born_claimed(turn, letter, seq, box, presence, expires_at, written)
            if listed:
                copies.append(Copy(claim.delivery, box.address, "claimed", False, 0, "online"))
        elif full:
            row = (seq, box.id, letter.id, letter.priority, expires_at, turn.now, written)
            turn.later(INSERT_REFUSED, row)
            if listed:
                copies.append(Copy(f"d{seq}", box.address, "expired", False, 0, transport(box)))
        else:
            depth = _enqueue(turn, letter, seq, box, expires_at, delay_ms, written)
            if listed:
                copies.append(Copy(f"d{seq}", box.address, "queued", True, depth, transport(box)))
        seq += 2
    return copies


def record_stretch(turn: Turn, box: Mailbox, stretch: int) -> None:
    """Write down that this stretch of the counter has deliveries of this mailbox."""
    turn.put(box, "stretch", stretch)
    turn.later(RECORD_STRETCH, (box.id, stretch))


def _enqueue(
    turn: Turn,
    letter: Letter,
    seq: int,
    box: Mailbox,
    expires_at: int,
    delay_ms: int,
    written: str | None,
) -> int:
    """Store a delivery that waits; how many are handed over before it."""
    due_at = turn.now + delay_ms if delay_ms else None
    row = (seq, box.id, letter.id, letter.priority, expires_at, due_at, written)
    turn.later(INSERT_QUEUED, row)
    turn.put(box, "unfinished", box.unfinished + 1)
    turn.wake_at(min(expires_at, due_at or expires_at))
    depth = box.queue.ahead(letter.priority)
    if due_at is None:
        ready(turn, Parcel(seq, box, letter, expires_at, written))
    return depth


def ready(turn: Turn, parcel: Parcel) -> None:
    """Count a delivery that may be handed over from now on."""
    queue = parcel.box.queue
    turn.undo(queue.recount, parcel.letter.priority, -1)
    queue.count(parcel.letter.priority, 1)
    if parcel.box.drainers or parcel.box.waiters:
        queue.keep(parcel)
        turn.stirred.append(parcel.box)
    elif queue.window:  # somebody pulls from it now and then: it must stay a prefix of the queue
        queue.keep(parcel)
