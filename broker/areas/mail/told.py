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

HEAD: Final = '{"ev":"mail.deliver","delivery":"'
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
    held = place or len(presence.held)
    terms = _terms(
        letter.kind,
        letter.priority,
        letter.sent_at,
        failures + 1,
        claims,
        letter.max_attempts,
        claim.expires_at - turn.now,
        claim.expires_at,
        preempt=letter.priority >= CRITICAL and held > presence.capacity,
    )
    _push(turn, claim, letter, written, presence, terms)


def push_newborn(
    turn: Turn, claim: Claim, letter: Letter, written: str | None, presence: Presence
) -> None:
    """The same for what was accepted just now."""
    if letter.priority >= CRITICAL:
        push(turn, claim, letter, written, presence, 0, 1)
        return
    terms = newborn_terms(turn, letter.kind, letter.priority, letter.max_attempts)
    _push(turn, claim, letter, written, presence, terms)


def newborn_terms(turn: Turn, kind: str, priority: int, max_attempts: int) -> str:
    """The terms of what is claimed at birth and no emergency, made once for its like in a batch."""
    traits = kind, priority, max_attempts
    terms = turn.alike.get(traits)
    if terms is None:
        lease_ms, now = turn.settings.mail.lease_ms, turn.now
        terms = turn.alike[traits] = _terms(
            kind, priority, now, 1, 1, max_attempts, lease_ms, now + lease_ms, preempt=False
        )
    return terms


def frame(
    claim: Claim,
    sender: str,
    to: str,
    terms: str,
    body: bytes | bytearray,
    meta: bytes | None,
    reply_to: int | None,
) -> bytes:
    """A push as it leaves."""
    answered = "null" if reply_to is None else f'"m{reply_to}"'
    head = (
        f'{HEAD}{claim.delivery}","claim":"{claim.id}",'
        f'"message":"m{claim.message}","seq":{claim.seq},"from":"{sender}","to":"{to}",'
        f'"mailbox":"{claim.box.address}",{terms},"reply_to":{answered},"body":'
    )
    return b"".join((head.encode(), body, b',"meta":', meta or b"null", b"}"))


def unseen(presence: Presence) -> set[str]:
    """The deliveries that were pushed and have not left: their reader is slow, or stands still."""
    conversation = presence.conversation
    if conversation is None:
        return set()
    waiting = conversation.line.waiting()
    start = len(HEAD)
    return {frame[start : frame.index(b'"', start)].decode() for frame in waiting}


def _push(
    turn: Turn, claim: Claim, letter: Letter, written: str | None, presence: Presence, terms: str
) -> None:
    assert presence.conversation is not None
    assert letter.body is not None
    to = letter.target if written is None else written
    told = frame(claim, letter.sender, to, terms, letter.body, letter.meta, letter.reply_to)
    turn.pushes.append((presence.conversation, told))


def _terms(
    kind: str,
    priority: int,
    sent_at: int,
    attempt: int,
    claims: int,
    max_attempts: int,
    lease_ms: int,
    claim_expires_at: int,
    *,
    preempt: bool,
) -> str:
    """What says nothing of one delivery alone, as a part of a JSON object."""
    return (
        f'"kind":{encode(kind).decode()},"priority":{priority},"sent_at":{sent_at},'
        f'"attempt":{attempt},"claims":{claims},"max_attempts":{max_attempts},'
        f'"lease_ms":{lease_ms},"claim_expires_at":{claim_expires_at},'
        f'"preempt":{"true" if preempt else "false"}'
    )


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
