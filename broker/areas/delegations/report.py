"""What the two parties say of a delegation: a new status, a result, or that work goes on.

Owns: `delegation.update` and `delegation.heartbeat`: who may say what, what is a repetition, what
comes too late. A status it leaves to `change`.
"""

from __future__ import annotations

from msgspec import UNSET

from broker.areas.delegations.change import Step, change, keep_late, write_history
from broker.areas.delegations.content import said_hash
from broker.areas.delegations.record import Record, seen
from broker.areas.delegations.states import check_speaker, check_step, has_ended
from broker.core.house import Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.delegations import Beat, Heartbeat, Update, Updated
from broker.wire.errors import Refused

sql = Queries(__file__)
BEAT = sql.take("beat")
sql.close()

operations = Operations()


@operations.handle(Update, drains=True)
def update(turn: Turn, caller: Presence, request: Update) -> Updated:
    """Take a delegation a step further, or end it."""
    member = caller.member
    record = seen(turn, caller, request.delegation)
    check_speaker(
        request.status,
        caller=record.caller_member == member.id,
        callee=record.callee_member == member.id,
    )
    result = None if request.result is UNSET else bytes(request.result)
    if result is not None and len(result) > turn.settings.limits.body:
        raise Refused("too_large", f"result: over {turn.settings.limits.body} bytes")
    by_caller = request.status == "cancelled"
    step = Step(
        request.status, member.name, result=result, error=request.error, by_caller=by_caller
    )
    while True:
        done = _repeated(record, step) or _too_late(turn, record, step)
        if done is not None:
            return done
        if change(turn, record, step):
            return Updated(status=step.to)
        # Somebody else was faster: what they have made of it is decided about anew.
        record = seen(turn, caller, request.delegation)


def _repeated(record: Record, step: Step) -> Updated | None:
    """The status that stands, with nothing new to it."""
    said = said_hash(step.result, step.error)
    if record.status == step.to and said in (None, record.said_sha256):
        return Updated(status=record.status, duplicate=True)
    return None


def _too_late(turn: Turn, record: Record, step: Step) -> Updated | None:
    """A result or error after the end is kept. All else after it is no step."""
    if not has_ended(record.status):
        return None
    if step.by_caller or said_hash(step.result, step.error) is None:
        check_step(record.status, step.to)
    kept = keep_late(turn, record, step)
    return Updated(status=record.status, duplicate=not kept, late=True)


@operations.handle(Heartbeat, drains=True)
def heartbeat(turn: Turn, caller: Presence, request: Heartbeat) -> Beat:
    """Say that a delegation is still worked on."""
    record = seen(turn, caller, request.delegation)
    if record.callee_member != caller.member.id:
        raise Refused("forbidden", "delegation: only the callee says that it is worked on")
    if not has_ended(record.status):
        turn.run(BEAT, (turn.now, turn.now, record.mesh_id, record.id, record.status))
        if request.note is not None:
            step = Step(record.status, caller.member.name, note=request.note)
            write_history(turn, record.mesh_id, record.id, step)
    return Beat(status=record.status)
