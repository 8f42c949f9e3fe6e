"""Closed mailboxes whose last delivery has been purged: nothing is left that would name them.

Owns: finding them. The rows are the directory's, which is told to forget them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from broker.areas.directory.boxes import closed_before, forget
from broker.areas.mail.deliver import STRETCH_BITS
from broker.config import MINUTE, SECOND
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
HOLDING = sql.take("holding")
FORGET_STRETCHES = sql.take("forget_stretches")
sql.close()

operations = Operations()

CHUNK: Final = 50  # of each, a stretch of deliveries is looked through, a millisecond at most
PACE_MS: Final = 20
LONGEST_REST_MS: Final = 10 * MINUTE


@operations.sweep
def forget_unused(turn: Turn) -> None:
    """Look through a chunk of what was closed longer ago than finished mail is kept."""
    house = turn.house
    if house.unused_at > turn.now:
        turn.wake_at(house.unused_at)
        return
    retention = turn.settings.mail.retention_ms
    closed = closed_before(turn, turn.now - retention, house.unused_to, CHUNK)
    rows = turn.all(HOLDING, (msgspec.json.encode(closed).decode(), STRETCH_BITS))
    holding = {row[0] for row in rows}
    for mailbox_id in closed:
        if mailbox_id not in holding:
            turn.run(FORGET_STRETCHES, (mailbox_id,))
            forget(turn, mailbox_id)
    more = len(closed) == CHUNK
    rest = PACE_MS if more else min(max(retention // 8, SECOND), LONGEST_REST_MS)
    turn.put(house, "unused_to", closed[-1] if more else 0)
    turn.put(house, "unused_at", turn.now + rest)
    turn.wake_at(house.unused_at)
