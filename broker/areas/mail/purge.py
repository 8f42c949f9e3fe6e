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
RECORD_CUTOFF = sql.take("record_cutoff")
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
    cutoff, after = turn.now - retention, house.purged_to
    busy = forget_old(turn, CHUNK)
    end, count, message = turn.one(CHUNK_END, (after, CHUNK)) or (None, 0, None)
    last = count < CHUNK or _sent_at(turn, end) > cutoff
    if end is not None:
        turn.run(PURGE_HISTORY, (after, end, cutoff))
        if turn.run(PURGE_DELIVERIES, (after, end, cutoff)):
            turn.run(RECORD_CUTOFF, (cutoff,))
        _purge_stretches(turn, after, end)
    # A message may have copies before this chunk; behind the last copy there are some with none.
    first = max(min(after, after if message is None else message) - 1, 0)
    through = house.next_number if count < CHUNK else end
    again = turn.run(PURGE_MESSAGES, (first, through, cutoff, CHUNK)) == CHUNK
    if not again:
        turn.put(house, "purged_to", 0 if last else end)
    rest = min(max(retention // 8, SECOND), LONGEST_REST_MS)
    turn.put(house, "purge_at", turn.now + (PACE_MS if again or busy or not last else rest))
    turn.wake_at(house.purge_at)


def _sent_at(turn: Turn, seq: int) -> int:
    row = turn.one(SENT_AT, (seq,))
    return 0 if row is None else int(row[0])


def _purge_stretches(turn: Turn, after: int, end: int) -> None:
    """Stretches that the walk has left behind; the one that it stands in has its turn later."""
    low, high = after >> STRETCH_BITS, end >> STRETCH_BITS
    if low < high:
        turn.run(PURGE_STRETCHES, (low, high, STRETCH_BITS))
