"""Finished mail is kept for `mail.retention_ms`, then removed, a chunk at a time.

Owns: the walk along the counter that removes what is old. Unfinished mail is passed by. A message
goes with the last of its deliveries.
"""

from __future__ import annotations

from typing import Final

from broker.areas.mail.deliver import STRETCH_BITS
from broker.areas.mail.keys import forget_old
from broker.config import MINUTE, SECOND
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
CHUNK_END = sql.take("chunk")
SENT_AT = sql.take("sent_at")
PURGE_HISTORY = sql.take("purge_history")
PURGE_DELIVERIES = sql.take("purge_deliveries")
PURGE_MESSAGES = sql.take("purge_messages")
PURGE_STRETCHES = sql.take("purge_stretches")
sql.close()

operations = Operations()

CHUNK: Final = 500
PACE_MS: Final = 20  # between two chunks: the walk takes a tenth of the writer's time at most
LONGEST_REST_MS: Final = 10 * MINUTE


@operations.sweep
def purge(turn: Turn) -> None:
    """Remove one chunk of what is old, if it is time for one."""
    house = turn.house
    if house.purge_at > turn.now:
        turn.wake_at(house.purge_at)
        return
    retention = turn.settings.mail.retention_ms
    rest = min(max(retention // 8, SECOND), LONGEST_REST_MS)
    more_keys = forget_old(turn, CHUNK)
    after, through, more = house.purged_to, *_chunk(turn, turn.now - retention)
    if through is not None:
        first = max(after - 1, 0)
        cutoff = turn.now - retention
        turn.run(PURGE_HISTORY, (after, through, cutoff))
        turn.run(PURGE_DELIVERIES, (after, through, cutoff))
        turn.run(PURGE_MESSAGES, (first, through, cutoff))
        turn.run(
            PURGE_STRETCHES,
            (after >> STRETCH_BITS, through >> STRETCH_BITS, STRETCH_BITS),
        )
    turn.put(house, "purged_to", through if more and through is not None else 0)
    turn.put(house, "purge_at", turn.now + (PACE_MS if more or more_keys else rest))
    turn.wake_at(house.purge_at)


def _chunk(turn: Turn, cutoff: int) -> tuple[int | None, bool]:
    """The end of the next chunk that was sent before the cutoff, and whether one follows it."""
    end, count = turn.one(CHUNK_END, (turn.house.purged_to, CHUNK)) or (None, 0)
    if end is None:
        return None, False
    row = turn.one(SENT_AT, (end,))
    return end, count == CHUNK and row is not None and row[0] <= cutoff
