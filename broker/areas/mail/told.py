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

USUAL_KIND: Final = '"message"'
"""As it stands in JSON: nearly every message is of this kind."""
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
    """Tell the presence, after the commit. Only what differs from copy to copy is written anew.

    `place` is the delivery's among those that the presence holds, if it is not the newest.
    """
    assert presence.conversation is not None
    preempt = "false"
    if letter.priority >= CRITICAL and (place or len(presence.held)) > presence.capacity:
        preempt = "true"
    own = (
        f'{{"ev":"mail.deliver","delivery":"{claim.delivery}","claim":"{claim.id}",'
        f'"seq":{claim.seq},"to":"{letter.target if written is None else written}",'
        f'"mailbox":"{claim.box.address}","attempt":{failures + 1},"claims":{claims},'
        f'"lease_ms":{claim.expires_at - turn.now},"claim_expires_at":{claim.expires_at},'
        f'"preempt":{preempt},'
    )
    turn.pushes.append((presence.conversation, own.encode() + (letter.wire or shared(letter))))


def shared(letter: Letter) -> bytes:
    """What all deliveries of a message are told alike, as the rest of a JSON object."""
    assert letter.body is not None
    kind = USUAL_KIND if letter.kind == "message" else encode(letter.kind).decode()
    reply_to = "null" if letter.reply_to is None else f'"m{letter.reply_to}"'
    head = (
        f'"message":"m{letter.id}","from":"{letter.sender}","kind":{kind},'
        f'"priority":{letter.priority},"reply_to":{reply_to},"sent_at":{letter.sent_at},'
        f'"max_attempts":{letter.max_attempts},"body":'
    )
    parts = head.encode(), letter.body, b',"meta":', letter.meta or b"null", b"}"
    letter.wire = wire = b"".join(parts)
    return wire


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
