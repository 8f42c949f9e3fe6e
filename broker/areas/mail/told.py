"""What a holder is told of a delivery: pushed as `mail.deliver`, or in the answer to a pull.

Owns: the two shapes. The pushed one is written by hand, because it is made for every copy of every
message; a test holds it to the struct on the wire.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from broker.core.house import Claim, Presence
from broker.core.queue import Letter, Parcel
from broker.core.turn import Turn
from broker.wire.fields import NULL
from broker.wire.frames import encode
from broker.wire.mail import Delivery

CRITICAL: Final = 100
"""From this priority on a delivery is handed over even where no capacity is left."""


def push(
    turn: Turn,
    claim: Claim,
    letter: Letter,
    written: str | None,
    presence: Presence,
    failures: int,
    claims: int,
    place: int = 0,
) -> None:
    """Tell the presence, after the commit.

    `place` is the delivery's among those that the presence holds, if it is not the newest.
    """
    assert presence.conversation is not None
    held = place or len(presence.held)
    preempt = letter.priority >= CRITICAL and held > presence.capacity
    terms = _terms(turn, claim, letter, failures, claims, preempt=preempt)
    turn.pushes.append((presence.conversation, _frame(claim, letter, written, terms)))


def push_newborn(
    turn: Turn, claim: Claim, letter: Letter, written: str | None, presence: Presence
) -> None:
    """The same for what was accepted just now: its terms are those of its like in this batch."""
    if letter.priority >= CRITICAL:
        push(turn, claim, letter, written, presence, 0, 1)
        return
    assert presence.conversation is not None
    traits = letter.kind, letter.priority, letter.max_attempts
    terms = turn.alike.get(traits)
    if terms is None:
        terms = turn.alike[traits] = _terms(turn, claim, letter, 0, 1, preempt=False)
    turn.pushes.append((presence.conversation, _frame(claim, letter, written, terms)))


def _terms(
    turn: Turn, claim: Claim, letter: Letter, failures: int, claims: int, *, preempt: bool
) -> str:
    """What says nothing of one delivery alone, as a part of a JSON object."""
    kind = encode(letter.kind).decode()
    return (
        f'"kind":{kind},"priority":{letter.priority},"sent_at":{letter.sent_at},'
        f'"attempt":{failures + 1},"claims":{claims},"max_attempts":{letter.max_attempts},'
        f'"lease_ms":{claim.expires_at - turn.now},"claim_expires_at":{claim.expires_at},'
        f'"preempt":{"true" if preempt else "false"}'
    )


def _frame(claim: Claim, letter: Letter, written: str | None, terms: str) -> bytes:
    body, meta, reply_to = letter.body, letter.meta, letter.reply_to
    assert body is not None
    answered = "null" if reply_to is None else f'"m{reply_to}"'
    head = (
        f'{{"ev":"mail.deliver","delivery":"{claim.delivery}","claim":"{claim.id}",'
        f'"message":"m{letter.id}","seq":{claim.seq},"from":"{letter.sender}",'
        f'"to":"{letter.target if written is None else written}",'
        f'"mailbox":"{claim.box.address}",{terms},'
        f'"reply_to":{answered},"body":'
    )
    return b"".join((head.encode(), body, b',"meta":', meta or b"null", b"}"))


def told(turn: Turn, claim: Claim, parcel: Parcel) -> Delivery:
    """A delivery as it is told to whom pulled it."""
    letter = parcel.letter
    assert letter.body is not None
    return Delivery(
        delivery=claim.delivery,
        claim=claim.id,
        message=f"m{letter.id}",
        seq=claim.seq,
        from_=letter.sender,
        to=letter.target if parcel.target is None else parcel.target,
        mailbox=claim.box.address,
        kind=letter.kind,
        priority=letter.priority,
        body=Raw(letter.body),
        meta=NULL if letter.meta is None else Raw(letter.meta),
        reply_to=None if letter.reply_to is None else f"m{letter.reply_to}",
        sent_at=letter.sent_at,
        attempt=parcel.failures + 1,
        claims=parcel.claims,
        max_attempts=letter.max_attempts,
        lease_ms=claim.expires_at - turn.now,
        claim_expires_at=claim.expires_at,
        preempt=False,
    )
