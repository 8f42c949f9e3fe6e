"""What time does to a delegation: stuck when nobody is heard of it, failed past its deadline.

Owns: when which is due. The next due time wakes the sweep; once in `delegation.sweep_ms` it runs
all the same, so that no mistake in that can leave a delegation in flight for ever.
"""

from __future__ import annotations

from typing import Final

from broker.areas.delegations.change import Step, change
from broker.areas.delegations.record import find
from broker.areas.delegations.states import has_ended
from broker.core.house import SYSTEM
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.delegations import DelegationStatus

sql = Queries(__file__)
SILENT = sql.take("silent")
OVERDUE = sql.take("overdue")
NEXT_SILENT = sql.take("next_silent")
NEXT_OVERDUE = sql.take("next_overdue")
sql.close()

operations = Operations()

CHUNK: Final = 200
"""How many ends of a kind, each with its mail, others wait for."""

SILENCE: Final = "silent"
DEADLINE: Final = "deadline"


@operations.sweep
def sweep(turn: Turn) -> None:
    """End a chunk of what is due, and ask to be woken for the next."""
    settings = turn.settings.delegation
    turn.wake_at(turn.now + settings.sweep_ms)
    # Nobody could be heard while the broker was down: silence counts from its start.
    if turn.now >= turn.house.started_at + settings.stuck_ms:
        rows = turn.all(SILENT, (turn.now - settings.stuck_ms, CHUNK))
        _end(turn, rows, "stuck", SILENCE)
    _end(turn, turn.all(OVERDUE, (turn.now, CHUNK)), "failed", DEADLINE)
    _ask_for_next(turn)


def _end(turn: Turn, rows: list[tuple[int, str]], to: DelegationStatus, reason: str) -> None:
    for mesh_id, id in rows:
        record = find(turn, mesh_id, id)
        if record is not None and not has_ended(record.status):
            change(turn, record, Step(to, SYSTEM, reason=reason))


def _ask_for_next(turn: Turn) -> None:
    """What is due now already, because a chunk was full, is next at once."""
    silent = turn.one(NEXT_SILENT)
    if silent is not None:
        since = max(silent[0], turn.house.started_at)
        turn.wake_at(since + turn.settings.delegation.stuck_ms)
    overdue = turn.one(NEXT_OVERDUE)
    if overdue is not None:
        turn.wake_at(overdue[0])
