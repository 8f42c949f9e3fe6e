"""Opening a delegation: its row, the mail of its task if so wished, and what a replay is answered.

Owns: which opens are the same one. The same id in a mesh, or the same key of a caller, is the first
delegation again and stores nothing; with other content it is refused.
"""

from __future__ import annotations

from typing import Final

from broker.areas.delegations.change import Step, change, count_in, write_history
from broker.areas.delegations.content import cut, opened_hash, task_body
from broker.areas.delegations.record import Record, find, of_key
from broker.areas.mail.accept import spend_allowance
from broker.areas.mail.letters import post
from broker.areas.mail.numbers import take_numbers
from broker.config import SECOND
from broker.core.house import Mailbox, Member, Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.delegations import Open, Opened
from broker.wire.errors import Refused

sql = Queries(__file__)
INSERT = sql.take("insert")
KEEP_TASK = sql.take("keep_task")
sql.close()

operations = Operations()

TASK_KIND: Final = "delegation.task"


@operations.handle(Open)
def open_delegation(turn: Turn, caller: Presence, request: Open) -> Opened:
    """Record that the caller asks a member for something, and mail it if so wished."""
    task = bytes(request.task)
    if len(task) > turn.settings.limits.body:
        raise Refused("too_large", f"task: over {turn.settings.limits.body} bytes")
    deadline_ms = request.deadline_ms or turn.settings.delegation.deadline_ms
    content = opened_hash(request.callee, deadline_ms, request.send, task)
    first = _first(turn, caller, request)
    if first is not None:
        return _again(caller, first, content, request)
    callee = caller.mesh.members.get(request.callee)
    if callee is None:
        raise Refused("unknown_recipient", f"callee: no member {request.callee!r} in this mesh")
    id = request.delegation or _new_id(turn, caller)
    message = _mail(turn, caller, callee.box, id, task) if request.send else None
    _store(turn, caller, callee, id, request, content, deadline_ms, message)
    held = message is not None and _is_held(turn, message)
    if held:
        record = find(turn, caller.mesh.id, id)
        assert record is not None, id
        change(turn, record, Step("dispatched", callee.name, note="handed over"))
    return Opened(
        delegation=id,
        status="dispatched" if held else "queued",
        created=True,
        message=_message_id(message),
    )


def _store(
    turn: Turn,
    caller: Presence,
    callee: Member,
    id: str,
    request: Open,
    content: bytes,
    deadline_ms: int,
    message: int | None,
) -> None:
    mesh, member, task = caller.mesh, caller.member, bytes(request.task)
    deadline = turn.now + deadline_ms
    turn.run(
        INSERT,
        (
            mesh.id,
            id,
            member.name,
            member.id,
            callee.name,
            callee.id,
            request.key,
            content,
            cut(task),
            message,
            deadline,
            turn.now,
            turn.now,
        ),
    )
    turn.run(KEEP_TASK, (mesh.id, id, task))
    count_in(turn, mesh.id, "queued")
    write_history(turn, mesh.id, id, Step("queued", member.name))
    turn.wake_at(deadline)


def _first(turn: Turn, caller: Presence, request: Open) -> Record | None:
    """The delegation that the request's id or key stands for already."""
    by_id = by_key = None
    if request.delegation is not None:
        by_id = find(turn, caller.mesh.id, request.delegation)
    if request.key is not None:
        by_key = of_key(turn, caller.mesh.id, caller.member.name, request.key)
    if by_id is not None and by_key is not None and by_id.id != by_key.id:
        raise Refused("key_conflict", "delegation, key: they stand for two delegations")
    return by_id or by_key


def _again(caller: Presence, first: Record, content: bytes, request: Open) -> Opened:
    """Answer a replay. A removed member's id or key is no better than somebody else's."""
    if first.caller_member != caller.member.id or first.opened_sha256 != content:
        which = "delegation" if first.id == request.delegation else "key"
        raise Refused("key_conflict", f"{which}: it stands for another content")
    return Opened(
        delegation=first.id,
        status=first.status,
        created=False,
        message=_message_id(first.message),
    )


def _mail(turn: Turn, caller: Presence, box: Mailbox, id: str, task: bytes) -> int:
    """Mail the task, under the rules of a send to one mailbox."""
    if box.unfinished >= turn.settings.mail.max_depth:
        raise Refused(
            "mailbox_full",
            f"{box.address} holds {box.unfinished} unfinished deliveries",
            detail={"mailbox": box.address},
            retry_after_ms=SECOND,
        )
    spend_allowance(turn, caller.member, 1)
    return post(turn, box, TASK_KIND, task_body(id, task), sender=caller.box)


def _is_held(turn: Turn, message: int) -> bool:
    """Whether the mail was handed over at once: its one delivery has the number behind it."""
    return f"d{message + 1}" in turn.house.claims


def _new_id(turn: Turn, caller: Presence) -> str:
    """An id that nobody in the mesh has chosen."""
    while True:
        id = f"g{take_numbers(turn, 1)}"
        if find(turn, caller.mesh.id, id) is None:
            return id


def _message_id(message: int | None) -> str | None:
    return None if message is None else f"m{message}"
