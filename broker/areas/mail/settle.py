"""Phase two: the recipient's ack, and with it the outputs, all of it or nothing.

Owns: what an ack is measured by (the newest claim of the delivery, the claimant's member) and what
it frees. Giving back is `giveback`'s.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Raw

from broker.areas.mail.accept import accept, priority_of, spend_allowance
from broker.areas.mail.ending import tell, uncount
from broker.areas.mail.handover import unhold
from broker.areas.mail.keys import answer, content_of
from broker.areas.mail.records import Facts, number, open_box, own_delivery
from broker.core.house import Claim, House, Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.fields import MAX_OUTPUTS
from broker.wire.frames import encode
from broker.wire.mail import Ack, Acked, Content, Sent

sql = Queries(__file__)
ACK = sql.take("ack")
ACK_BORN = sql.take("ack_born")
ACK_LATE = sql.take("ack_late")
sql.close()

operations = Operations()

COPY_BYTES: Final = 512
"""More than a copy needs in an answer, its part of everything around it included."""
PLAIN_ACK: Final = Raw(encode(Acked(outputs=[])))
"""The answer to nearly every ack, made once."""


@operations.handle(Ack, hot=True, drains=True)
def ack(turn: Turn, caller: Presence, request: Ack) -> Acked | Raw:
    """Finish a delivery and send its outputs, all in one transaction."""
    claim = turn.house.claims.get(request.delivery)
    if claim is None or claim.id != request.claim or claim.member is not caller.member:
        return _unheld(turn, caller, request)
    if claim.plain and not request.outputs:
        settle(turn, claim)
        if claim.number >= turn.first_number:
            turn.writer.flush()  # guessed, not told: its claim is still to be written
        if claim.number == claim.seq:  # claimed at birth, as nearly all are
            turn.gather(ACK_BORN, turn.now, claim.seq)
        else:
            turn.later(ACK, (turn.now, claim.seq, claim.number))
        return PLAIN_ACK
    with turn.atomic():
        found = own_delivery(turn, caller, request.delivery)
        settle(turn, claim)
        sent = _send_outputs(turn, caller, request.outputs, found.message)
        _finish(turn, found, claim.number, request.outputs, sent)
    return Acked(outputs=sent)


def _unheld(turn: Turn, caller: Presence, request: Ack) -> Acked:
    """An ack of what its claim does not hold (any more): done already, lapsed, or stale."""
    found = own_delivery(turn, caller, request.delivery)
    claim = number(request.claim, "c")
    if found.claim == claim and found.state == "acked":
        if found.outputs_sha256 != _hash_of(turn, request.outputs):
            raise Refused("key_conflict", "outputs: acked before with other outputs")
        return Acked(outputs=_answers(turn, found), duplicate=True)
    box = open_box(turn, found)
    if found.claim != claim or found.state != "queued" or box is None:
        raise Refused(
            "stale_claim",
            f"claim: {request.claim[:200]!r} is not the newest claim of {request.delivery!r}",
        )
    with turn.atomic():
        uncount(turn, found, box)
        sent = _send_outputs(turn, caller, request.outputs, found.message)
        _finish(turn, found, claim, request.outputs, sent)
    return Acked(outputs=sent)


def _send_outputs(turn: Turn, caller: Presence, outputs: list[Content], message: int) -> list[Sent]:
    if len(outputs) > MAX_OUTPUTS:
        many = Refused("too_large", f"at most {MAX_OUTPUTS} outputs, not {len(outputs)}")
        raise _naming(MAX_OUTPUTS, many)
    if outputs:
        try:
            spend_allowance(turn, caller.member, len(outputs))
        except Refused as refusal:
            raise _naming(max(int(caller.member.allowance), 0), refusal) from None
    sent: list[Sent] = []
    for position, output in enumerate(outputs):
        try:
            sent.append(accept(turn, caller, output, answers=message))
        except Refused as refusal:
            raise _naming(position, refusal) from None
    return _that_fit(turn, sent)


def _naming(position: int, refusal: Refused) -> Refused:
    """The same refusal, saying which output it is about."""
    return Refused(
        refusal.code,
        f"outputs[{position}]: {refusal.message}",
        detail={**(refusal.detail or {}), "output": position},
        retry_after_ms=refusal.retry_after_ms,
    )


def _that_fit(turn: Turn, answers: list[Sent]) -> list[Sent]:
    """Many outputs to many: list no more copies in all than a frame holds."""
    room = turn.settings.limits.frame // COPY_BYTES
    for one in answers:
        del one.deliveries[room:]
        room -= len(one.deliveries)
    return answers


def _finish(turn: Turn, found: Facts, claim: int, outputs: list[Content], sent: list[Sent]) -> None:
    messages = msgspec.json.encode([one.seq for one in sent]).decode() if sent else None
    turn.later(ACK_LATE, (turn.now, _hash_of(turn, outputs), messages, found.seq, claim))
    tell(turn, found, "acked", None)


def _answers(turn: Turn, found: Facts) -> list[Sent]:
    """What the outputs of an earlier ack were answered, as they stand today."""
    messages: list[int] = msgspec.json.decode(found.outputs) if found.outputs else []
    return _that_fit(turn, [answer(turn, message) for message in messages])


def _hash_of(turn: Turn, outputs: list[Content]) -> bytes | None:
    """What makes two lists of outputs the same."""
    if not outputs:
        return None
    digest = sha256()
    for output in outputs:
        digest.update(content_of(turn, output, priority_of(output)))
        digest.update(sha256((output.key or "").encode()).digest())
    return digest.digest()


def settle(turn: Turn, claim: Claim) -> None:
    """A claim has ended for good: its delivery leaves memory, its holder has room again."""
    house = turn.house
    turn.journal.append((rehold, house, claim))
    unhold(house, claim, 1)
    presence = claim.presence
    if presence is not None:
        for drained in presence.drains:
            if drained.queue.ready:
                turn.stirred.append(drained)


def rehold(house: House, claim: Claim) -> None:
    """Take back a settlement. Younger claims stand before this one now: it is reminded of alone."""
    house.claims[claim.delivery] = claim
    house.remind_of(claim)
    claim.box.unfinished += 1
    if claim.presence is not None:
        claim.presence.held[claim.delivery] = claim
