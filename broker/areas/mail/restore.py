"""The start: what mail remembers of the rows on disk.

Owns: the counts of what waits, and the claims that came through the restart. Those stay with their
holders until the later of their end and one usual lease from the start; no row is changed for it.
"""

from __future__ import annotations

from broker.core.house import Claim
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
MARK = sql.take("mark")
READY = sql.take("ready")
READY_AFTER = sql.take("ready_after")
WAITING = sql.take("waiting")
CLAIMED = sql.take("claimed")
LAST_SENT = sql.take("last_sent")
STRETCHES = sql.take("stretches")
sql.close()


def last_sent(turn: Turn) -> int:
    """The instant of the last message."""
    row = turn.one(LAST_SENT)
    return row[0] if row else 0


def restore(turn: Turn) -> None:
    """Count what waits, and hold what is held. The directory and presence are there already."""
    house = turn.house
    boxes = house.boxes
    row = turn.one(MARK)
    house.next_number = house.number_mark = row[0] if row else 1
    for mailbox_id, priority, count in turn.all(READY):
        box = boxes.get(mailbox_id)
        if box is not None and not box.ended_through:
            box.queue.count(priority, count)
            box.unfinished += count
    for box in boxes.values():
        if box.ended_through:
            for priority, count in turn.all(READY_AFTER, (box.id, box.ended_through)):
                box.queue.count(priority, count)
                box.unfinished += count
    for mailbox_id, seq in turn.all(WAITING):
        box = boxes.get(mailbox_id)
        if box is not None and seq > box.ended_through:
            box.unfinished += 1
    for mailbox_id, stretch in turn.all(STRETCHES):
        if mailbox_id in boxes:
            boxes[mailbox_id].stretch = stretch
    _claims(turn)
    turn.wake_at(turn.now)


def _claims(turn: Turn) -> None:
    house = turn.house
    floor = turn.now + turn.settings.mail.lease_ms
    for seq, number, mailbox_id, claimed_by, message, ends_at, kind, receipt in turn.all(CLAIMED):
        box = house.boxes.get(mailbox_id)
        if box is None:
            continue
        presence = house.presences.get(claimed_by)
        plain = not receipt and kind not in turn.hooks
        claim = Claim(
            seq,
            f"d{seq}",
            number,
            f"c{number}",
            box,
            presence,
            box.member,
            message,
            max(ends_at, floor),
            plain,
            restored=True,
        )
        house.claims[claim.delivery] = claim
        box.unfinished += 1
        if presence is not None:
            presence.held[claim.delivery] = claim
        house.remind_of(claim)
