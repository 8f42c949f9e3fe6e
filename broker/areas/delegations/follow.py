"""A delegation follows the mail that carries its task: handed over, dead, expired or cancelled.

Owns: what the fate of that mail means for the delegation. Never refuses: it runs inside whatever
has moved the mail.
"""

from __future__ import annotations

from typing import Final

from broker.areas.delegations.change import Step, change, write_history
from broker.areas.delegations.open import TASK_KIND
from broker.areas.delegations.record import of_message
from broker.areas.delegations.states import has_ended
from broker.core.house import SYSTEM
from broker.core.operations import Hook, Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.delegations import DelegationStatus

sql = Queries(__file__)
COUNT_RETRY = sql.take("count_retry")
sql.close()

operations = Operations()

BECOMES: Final[dict[str, DelegationStatus]] = {
    "dead": "failed",
    "expired": "failed",
    "cancelled": "cancelled",
}
"""What the end of its mail makes of a delegation. An ack ends nothing: then the work begins."""


class Follow:
    """Hears of every mail of kind `delegation.task`."""

    def on_claimed(self, turn: Turn, message: int) -> None:
        """The task is in the callee's hands. A mail that is being posted has no delegation yet."""
        record = of_message(turn, message)
        if record is None or has_ended(record.status):
            return
        if record.status == "queued":
            change(turn, record, Step("dispatched", record.callee, note="handed over"))
        else:
            turn.run(COUNT_RETRY, (turn.now, record.mesh_id, record.id))
            step = Step(record.status, record.callee, note="handed over again")
            write_history(turn, record.mesh_id, record.id, step)

    def on_ended(self, turn: Turn, message: int, state: str, reason: str | None) -> None:
        """The mail has ended; the delegation with it, unless it has ended before."""
        to = BECOMES.get(state)
        record = None if to is None else of_message(turn, message)
        if to is None or record is None or has_ended(record.status):
            return
        actor = turn.conversation and turn.conversation.presence
        by_caller = to == "cancelled" and actor and actor.member.id == record.caller_member
        step = Step(
            to,
            actor.member.name if to == "cancelled" and actor else SYSTEM,
            reason=state,
            error=None if reason == state else reason,
            by_caller=bool(by_caller),
        )
        change(turn, record, step)


hook: Final[Hook] = Follow()
operations.hooks[TASK_KIND] = hook
