"""A dispatch as the rules see it: found by its key, its id or its task, and held by whom.

Owns: reading a row of the queue, when its lease ends, and whether a caller's token is the one that
counts. There is no way to find work by its agent type: whoever takes some names it whole.
"""

from __future__ import annotations

from typing import NamedTuple

from broker.areas.dispatch.identity import number_of
from broker.core.house import Presence
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.dispatch import DispatchStatus
from broker.wire.errors import Refused

sql = Queries(__file__)
BY_KEY = sql.take("by_key")
BY_ID = sql.take("by_id")
BY_TASK = sql.take("by_task")
EVER_LEASED = sql.take("ever_leased")
sql.close()


class Work(NamedTuple):
    """A row of the queue."""

    id: int
    mesh_id: int
    dispatch_key: str
    parent_session_id: str
    agent_type: str
    dag_task_id: str
    prompt_ref_id: int
    status: DispatchStatus
    attempt: int
    max_attempts: int
    expires_at: int | None
    created_by: int | None
    creator_box: int | None
    call_id: str | None
    lease_member_id: int | None
    lease_session: str | None
    lease_presence_id: int | None
    lease_token: str | None
    lease_attempt: int | None
    lease_expires_at: int | None
    lease_incarnation: int | None


def by_key(turn: Turn, mesh_id: int, key: str) -> Work | None:
    """The dispatch of this key."""
    row = turn.one(BY_KEY, (mesh_id, key))
    return None if row is None else Work(*row)


def by_task(
    turn: Turn, mesh_id: int, parent_session_id: str, agent_type: str, dag_task_id: str
) -> Work | None:
    """The dispatch of this task; its prompt may be another than the caller's."""
    row = turn.one(BY_TASK, (mesh_id, parent_session_id, agent_type, dag_task_id))
    return None if row is None else Work(*row)


def find(turn: Turn, caller: Presence, id: str) -> Work:
    """The dispatch of this id in the caller's mesh, or the refusal."""
    row = turn.one(BY_ID, (caller.mesh.id, number_of(id)))
    if row is None:
        raise Refused("not_found", f"dispatch: no dispatch {id[:64]!r} in this mesh")
    return Work(*row)


def lease_end(turn: Turn, work: Work) -> int:
    """When the lease ends. One that came through a restart has a floor until it is renewed."""
    assert work.lease_expires_at is not None
    if work.lease_incarnation == turn.house.incarnation:
        return work.lease_expires_at
    return max(work.lease_expires_at, floor(turn))


def floor(turn: Turn) -> int:
    """Until when every lease from before the start runs at least."""
    return turn.house.started_at + turn.settings.dispatch.lease_ms


def leased_by(turn: Turn, caller: Presence, id: str, token: str) -> Work:
    """The dispatch whose newest lease has this token and is the caller's member's.

    Whoever never leased it learns nothing about the token, not even whether it is right.
    """
    work = find(turn, caller, id)
    member = caller.member.id
    right = work.lease_token == token
    if right and work.lease_member_id == member:
        return work
    leased = work.lease_token is not None
    if right or (leased and turn.one(EVER_LEASED, (work.id, member)) is None):
        raise Refused("forbidden", f"{caller.member.name!r} has no lease on this dispatch")
    raise Refused("stale_lease", "lease_token: not the newest lease of this dispatch")
