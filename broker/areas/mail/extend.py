"""Still at work: a lease that is prolonged, and the note that tells the sender how far it is.

Owns: `mail.extend`.
"""

from __future__ import annotations

from broker.areas.mail.giveback import live_claim
from broker.areas.mail.handover import lease_of
from broker.areas.mail.records import facts, write_history
from broker.core.house import Claim, Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.mail import Extend, Extended, Progress

sql = Queries(__file__)
EXTEND = sql.take("extend")
sql.close()

operations = Operations()


@operations.handle(Extend, drains=True)
def extend(turn: Turn, caller: Presence, request: Extend) -> Extended:
    """Say that a claimed delivery is still worked on."""
    lease_ms = lease_of(request.lease_ms, turn.settings.mail.lease_ms)
    claim = live_claim(turn, caller, request.delivery, request.claim)
    prolong(turn, claim, turn.now + lease_ms)
    turn.later(EXTEND, (claim.expires_at, request.note is None, turn.now, claim.seq))
    if request.note is not None:
        _tell_sender(turn, claim, request.note)
    return Extended(lease_ms=lease_ms, claim_expires_at=claim.expires_at)


def prolong(turn: Turn, claim: Claim, expires_at: int) -> None:
    """Give a claim another end. One that came through a restart is an ordinary one from now on."""
    turn.undo(turn.house.remind_of, claim)
    turn.put(claim, "expires_at", expires_at)
    turn.put(claim, "restored", False)
    turn.house.remind_of(claim)
    turn.wake_at(expires_at)


def _tell_sender(turn: Turn, claim: Claim, note: str) -> None:
    """Every connected presence of the sending member hears of the progress."""
    found = facts(turn, claim.seq)
    assert found is not None, claim.delivery
    write_history(turn, claim.seq, "extended", turn.now, found.claimed_by, note)
    event = Progress(
        message=f"m{found.message}",
        delivery=claim.delivery,
        mailbox=claim.box.address,
        note=note,
    )
    for presence in claim.member.mesh.presences():
        if presence.member.id == found.sender_id:
            turn.event(presence, event)
