"""Creating: one identity becomes one dispatch, once, whoever asks and however often.

Owns: what a dispatch is when it begins (prompt, queue row, context, first attempt), what the same
identity again is answered, and reopening. Decides by the task: the same parent, agent and task with
another prompt is refused, not queued beside the first.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from broker.areas.dispatch.ending import begin_attempt
from broker.areas.dispatch.identity import hash_of, key_of, written
from broker.areas.dispatch.sweep import ripe
from broker.areas.dispatch.tell import tell_ready
from broker.areas.dispatch.work import Work, by_task, find
from broker.areas.mail.targets import ADDRESS, address
from broker.core.house import Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.dispatch import Create, Created, DispatchStatus
from broker.wire.errors import Refused

sql = Queries(__file__)
FIND_PROMPT = sql.take("find_prompt")
INSERT_PROMPT = sql.take("insert_prompt")
INSERT = sql.take("insert")
INSERT_CONTEXT = sql.take("insert_context")
REOPEN = sql.take("reopen")
OUTCOME = sql.take("outcome")
sql.close()

operations = Operations()

REOPENED_FROM: Final = frozenset({"failed", "expired", "cancelled"})

ROOM_FOR_NAMES: Final = 2_048
"""What the answer to a lease needs besides the prompt and the context."""

ESCAPED: Final = 6  # `\u0000`: the most bytes that JSON makes of one


@operations.handle(Create)
def create(turn: Turn, caller: Presence, request: Create) -> Created:
    """Queue a piece of work, or say what became of it."""
    prompt = request.prompt.encode()
    _check_sizes(turn, request, len(prompt))
    prompt_sha256 = hash_of(prompt)
    if request.prompt_sha256 not in (None, prompt_sha256):
        raise Refused("prompt_hash_mismatch", "prompt_sha256: not the hash of this prompt")
    if request.notify is not None and ADDRESS.fullmatch(request.notify) is None:
        raise Refused("bad_request", f"notify: {request.notify!r} is not an address")
    key = key_of(request.agent_type, request.dag_task_id, prompt_sha256, request.parent_session_id)
    work = by_task(
        turn,
        caller.mesh.id,
        request.parent_session_id,
        request.agent_type,
        request.dag_task_id,
    )
    if work is None:
        return _begin(turn, caller, request, prompt, prompt_sha256, key)
    if work.dispatch_key != key:
        raise Refused(
            "dag_task_id_reuse",
            f"dag_task_id: {written(work.id)} is the same task with another prompt",
            detail={"dispatch": written(work.id), "dispatch_key": work.dispatch_key},
        )
    work = ripe(turn, work)
    if request.retry and work.status in REOPENED_FROM:
        return _reopen(turn, caller, request, work, prompt_sha256)
    return _answer(work, prompt_sha256, work.status, work.attempt, _outcome(turn, work))


def _check_sizes(turn: Turn, request: Create, prompt: int) -> None:
    limits = turn.settings.limits
    context = len(request.context)
    for field, size in (("prompt", prompt), ("context", context)):
        if size > limits.body:
            raise Refused("too_large", f"{field}: over {limits.body} bytes")
    room = limits.frame - ROOM_FOR_NAMES - context
    if prompt * ESCAPED > room and len(msgspec.json.encode(request.prompt)) > room:
        raise Refused("too_large", "prompt: with its escapes and the context over a frame")


def _begin(
    turn: Turn, caller: Presence, request: Create, prompt: bytes, prompt_sha256: str, key: str
) -> Created:
    """Prompt, queue row, context and first attempt, in this order, all or none."""
    expires_at = None if request.ttl_ms is None else turn.now + request.ttl_ms
    found = turn.one(FIND_PROMPT, (prompt_sha256,))
    prompt_ref = found[0] if found else None
    if prompt_ref is None:
        prompt_ref = turn.insert(INSERT_PROMPT, (prompt_sha256, prompt, turn.now))
    id = turn.insert(
        INSERT,
        (
            caller.mesh.id,
            key,
            request.parent_session_id,
            request.agent_type,
            request.dag_task_id,
            prompt_ref,
            request.max_attempts or turn.settings.dispatch.max_attempts,
            expires_at,
            caller.member.id,
            caller.member.box.id,
            turn.now,
        ),
    )
    context = bytes(request.context)
    turn.run(
        INSERT_CONTEXT,
        (
            id,
            request.parent_session_id,
            request.agent_type,
            request.dag_task_id,
            caller.mesh.name,
            None if context == b"null" else context,
            turn.now,
        ),
    )
    begin_attempt(turn, id, 1)
    _announce(turn, caller, request, find(turn, caller, written(id)), prompt_sha256)
    return Created(
        dispatch=written(id),
        dispatch_key=key,
        prompt_sha256=prompt_sha256,
        status="pending",
        attempt=1,
        created=True,
    )


def _reopen(
    turn: Turn, caller: Presence, request: Create, work: Work, prompt_sha256: str
) -> Created:
    """The next attempt at what has ended. Its context stays; whose result it is, if he is there."""
    attempt = work.attempt + 1
    creator = (work.created_by, work.creator_box)
    if work.creator_box not in turn.house.boxes:
        creator = (caller.member.id, caller.member.box.id)
    expires_at = None if request.ttl_ms is None else turn.now + request.ttl_ms
    most = max(request.max_attempts or work.max_attempts, attempt)
    moved = turn.run(
        REOPEN, (attempt, most, expires_at, *creator, work.id, work.status, work.attempt)
    )
    assert moved == 1
    begin_attempt(turn, work.id, attempt)
    _announce(turn, caller, request, find(turn, caller, written(work.id)), prompt_sha256)
    return _answer(work, prompt_sha256, "pending", attempt, UNSET)


def _announce(
    turn: Turn, caller: Presence, request: Create, work: Work, prompt_sha256: str
) -> None:
    """Work is there now: whoever was named hears of it, and its time runs."""
    if work.expires_at is not None:
        turn.wake_at(work.expires_at)
    if request.notify is not None:
        tell_ready(turn, address(caller.mesh, request.notify, "notify"), work, prompt_sha256)


def _outcome(turn: Turn, work: Work) -> Raw | UnsetType:
    if work.status != "consumed":
        return UNSET
    row = turn.one(OUTCOME, (work.id, work.attempt))
    assert row is not None
    return UNSET if row[0] is None else Raw(row[0])


def _answer(
    work: Work,
    prompt_sha256: str,
    status: DispatchStatus,
    attempt: int,
    outcome: Raw | UnsetType,
) -> Created:
    return Created(
        dispatch=written(work.id),
        dispatch_key=work.dispatch_key,
        prompt_sha256=prompt_sha256,
        status=status,
        attempt=attempt,
        created=False,
        outcome=outcome,
    )
