"""A presence was taken up again: what it holds is pushed once more, the same claim and attempt.

Owns: that second push. Nothing is counted, nothing is written.
"""

from __future__ import annotations

from broker.areas.mail.handover import letter_of
from broker.areas.mail.told import push
from broker.core.house import Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
HELD = sql.take("held")
sql.close()

operations = Operations()


@operations.on("presence.resumed")
def push_again(turn: Turn, presence: Presence) -> None:
    """Push all that this presence was handed and has not acked, in the order of its claims."""
    in_order = sorted(presence.held.values(), key=lambda claim: claim.number)
    for place, claim in enumerate(in_order, start=1):
        row = turn.one(HELD, (claim.seq,))
        assert row is not None, claim.delivery
        letter = letter_of(row[5:15], claim.plain)
        push(turn, claim, letter, row[2], presence, row[3], row[4], place)
