"""What is on disk of one delivery, and the ids by which the wire names it.

Owns: `Facts`, the ids of messages, deliveries and claims, and the writing of history. Nothing here
changes a state.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from broker.areas.directory.boxes import boxes_of, owner_of
from broker.core.house import Mailbox, Member, Presence
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused

sql = Queries(__file__)
FACTS = sql.take("facts")
KNOWN = sql.take("known")
HISTORY = sql.take("history")
sql.close()


class Facts(NamedTuple):
    """A delivery and what its message says about its end."""

    seq: int
    mailbox_id: int
    message: int
    state: str
    priority: int
    failures: int
    claims: int
    claim: int | None
    claimed_by: int | None
    claimed_at: int | None
    expires_at: int
    due_at: int | None
    extends: int
    extended_at: int | None
    ended_at: int | None
    outputs_sha256: bytes | None
    outputs: str | None
    mesh_id: int
    sender_id: int | None
    from_mailbox: int | None
    kind: str
    receipt: int
    max_attempts: int
    sent_at: int


def number(written: str, prefix: str) -> int:
    """The number in a wire id, or 0, which nothing has. Each id is written in one way only."""
    digits = written[1:]
    if not digits.isascii() or not digits.isdecimal() or len(digits) >= 19:
        return 0
    return int(digits) if written == f"{prefix}{int(digits)}" else 0


def facts(turn: Turn, seq: int) -> Facts | None:
    """All of one delivery."""
    row = turn.one(FACTS, (seq,))
    return None if row is None else Facts(*row)


def own_delivery(turn: Turn, caller: Presence, written: str) -> Facts:
    """A delivery to the caller's member; that of anybody else does not exist for it."""
    found = facts(turn, number(written, "d"))
    if found is None or owner(turn, found.mailbox_id) != caller.member.id:
        raise Refused("not_found", f"delivery: no delivery {written[:200]!r}")
    return found


def owner(turn: Turn, mailbox_id: int) -> int | None:
    """The member whose mailbox this is, or was."""
    box = turn.house.boxes.get(mailbox_id)
    return owner_of(turn, mailbox_id) if box is None else box.member.id


def known_message(turn: Turn, member: Member, written: str) -> int:
    """A message that this member sent or received, as `reply_to` wants it."""
    id = number(written, "m")
    boxes = msgspec.json.encode(boxes_of(turn, member)).decode()
    if not id or turn.one(KNOWN, (id, member.id, boxes)) is None:
        raise Refused("not_found", f"reply_to: no message {written[:200]!r} sent or received")
    return id


def write_history(
    turn: Turn,
    seq: int,
    event: str,
    at: int,
    presence: int | None = None,
    reason: str | None = None,
    count: int = 1,
) -> None:
    """Remember a step off the straight path."""
    turn.later(HISTORY, (seq, event, at, presence, reason, count))


def write_claim(turn: Turn, found: Facts) -> None:
    """Remember the claim that ends now, and how often it was extended, before the row forgets."""
    if found.claimed_at is not None:
        write_history(turn, found.seq, "claimed", found.claimed_at, found.claimed_by)
    if found.extends and found.extended_at is not None:
        write_history(
            turn, found.seq, "extended", found.extended_at, found.claimed_by, count=found.extends
        )


def open_box(turn: Turn, found: Facts) -> Mailbox | None:
    """The delivery's mailbox, if the delivery still counts in it."""
    box = turn.house.boxes.get(found.mailbox_id)
    return None if box is None or found.seq <= box.ended_through else box
