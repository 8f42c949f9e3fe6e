"""Phase two: the recipient's ack, and with it the outputs, all of it or nothing.

Owns: what an ack is measured by (the newest claim of the delivery, the claimant's member) and what
it frees. Giving back is `giveback`'s.
"""

from __future__ import annotations

from typing import Final

from broker.areas.mail.handover import unhold
from broker.core.house import Claim, House, Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.mail import Ack, Acked

sql = Queries(__file__)
ACK = sql.take("ack")
sql.close()

operations = Operations()

PLAIN_ACK: Final = Acked(outputs=[])


@operations.handle(Ack, hot=True, drains=True)
def ack(turn: Turn, caller: Presence, request: Ack) -> Acked:
    """Finish a delivery and send its outputs, all in one transaction."""
    claim = turn.house.claims.get(request.delivery)
    if (
        claim is not None
        and claim.id == request.claim
        and claim.member is caller.member
        and claim.plain
        and not request.outputs
    ):
        settle(turn, claim)
        turn.later(ACK, (turn.now, claim.seq, claim.number))
        return PLAIN_ACK
    raise Refused("stale_claim", "todo")


def settle(turn: Turn, claim: Claim) -> None:
    """A claim has ended for good: its delivery leaves memory, its holder has room again."""
    turn.undo(rehold, turn.house, claim)
    unhold(turn.house, claim)
    box, presence = claim.box, claim.presence
    box.unfinished -= 1
    if presence is not None:
        for drained in presence.drains:
            if drained.queue.ready:
                turn.stirred.append(drained)


def rehold(house: House, claim: Claim) -> None:
    """Take back a settlement."""
    house.claims[claim.delivery] = claim
    claim.box.unfinished += 1
    if claim.presence is not None:
        claim.presence.held[claim.delivery] = claim
