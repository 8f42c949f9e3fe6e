"""The one place where a delegation's status changes, and what else that is.

Owns: the swap of one status for another, its line in the history, the counts, and the mail that
tells the caller of an end it did not cause: all of it is one transaction. Who may ask for which
change is decided before; that the step exists is checked here again.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.areas.delegations.content import cut, result_body, said_hash
from broker.areas.delegations.record import Record
from broker.areas.delegations.states import check_step, has_ended
from broker.areas.mail.clear import cancel_message
from broker.areas.mail.letters import post
from broker.core.house import Mailbox
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.delegations import DelegationStatus

sql = Queries(__file__)
SWAP = sql.take("swap")
KEEP_RESULT = sql.take("keep_result")
COUNT_OUT = sql.take("count_out")
COUNT_IN = sql.take("count_in")
HISTORY = sql.take("history")
SAID_LATE = sql.take("said_late")
sql.close()

RESULT_KIND = "delegation.result"


@dataclass(frozen=True, slots=True)
class Step:
    """A status that somebody wants, and what comes with it."""

    to: DelegationStatus
    by: str
    """A member's name, or the broker's."""
    note: str | None = None
    reason: str | None = None
    result: bytes | None = None
    error: str | None = None
    by_caller: bool = False
    """Whether the caller itself is the cause: then nobody needs to tell it."""


def change(turn: Turn, record: Record, step: Step) -> bool:
    """Take a delegation a step further, unless it is not any more as the record says."""
    check_step(record.status, step.to)
    ends = has_ended(step.to)
    swapped = turn.run(
        SWAP,
        (
            step.to,
            said_hash(step.result, step.error),
            cut(step.result) if ends and step.result is not None else None,
            cut(step.error.encode()) if ends and step.error is not None else None,
            step.reason,
            turn.now if step.to == "in_progress" else None,
            turn.now,
            turn.now if ends else None,
            record.mesh_id,
            record.id,
            record.status,
        ),
    )
    if not swapped:
        return False
    count_in(turn, record.mesh_id, step.to)
    turn.run(COUNT_OUT, (record.mesh_id, record.status))
    write_history(turn, record.mesh_id, record.id, step, result=None if ends else step.result)
    if step.to == "in_progress":
        turn.wake_at(turn.now + turn.settings.delegation.stuck_ms)
    if ends:
        _end(turn, record, step)
    return True


def _end(turn: Turn, record: Record, step: Step) -> None:
    if step.result is not None:
        turn.run(KEEP_RESULT, (step.result, record.mesh_id, record.id))
    if step.to == "cancelled" and record.message is not None:
        cancel_message(turn, record.message)
    if not step.by_caller:
        _tell_caller(turn, record, step.to, step.reason, step, late=False)


def keep_late(turn: Turn, record: Record, step: Step) -> bool:
    """Keep what came after the end, and mail it, unless the same has come late before."""
    said = said_hash(step.result, step.error)
    if turn.one(SAID_LATE, (record.mesh_id, record.id, said, step.to)) is not None:
        return False
    write_history(turn, record.mesh_id, record.id, step, result=step.result, late=said)
    _tell_caller(turn, record, record.status, record.reason, step, late=True)
    return True


def count_in(turn: Turn, mesh_id: int, status: DelegationStatus) -> None:
    """One more delegation of the mesh has this status."""
    turn.run(COUNT_IN, (mesh_id, status))


def write_history(
    turn: Turn,
    mesh_id: int,
    id: str,
    step: Step,
    *,
    result: bytes | None = None,
    late: bytes | None = None,
) -> None:
    """Remember what was said, by whom and why. `late` is the hash of what came after the end."""
    note = step.reason if step.note is None else step.note
    turn.later(
        HISTORY,
        (
            mesh_id,
            id,
            turn.now,
            step.to,
            step.by,
            note,
            result,
            step.error,
            late is not None,
            late,
        ),
    )


def _tell_caller(
    turn: Turn,
    record: Record,
    status: DelegationStatus,
    reason: str | None,
    step: Step,
    *,
    late: bool,
) -> None:
    box = _caller_box(turn, record)
    if box is None:
        return
    body = result_body(
        record.id,
        status,
        step.result,
        step.error,
        reason,
        late=late,
        limit=turn.settings.limits.body,
    )
    post(turn, box, RESULT_KIND, body, reply_to=record.message)


def _caller_box(turn: Turn, record: Record) -> Mailbox | None:
    """The mailbox of the member that opened it, if there is that member still."""
    for mesh in turn.house.meshes.values():
        if mesh.id == record.mesh_id:
            member = mesh.members.get(record.caller)
            if member is not None and member.id == record.caller_member:
                return member.box
    return None
