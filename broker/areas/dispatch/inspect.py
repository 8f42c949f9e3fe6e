"""Looking at dispatches: one with its attempts, a page of many, figures.

Owns: what of a dispatch is shown, which is neither its prompt nor a lease token, and that an answer
fits into a frame. Reads beside the writer and changes nothing.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from msgspec import UNSET, Raw

from broker.areas.dispatch.identity import number_of, written
from broker.areas.dispatch.tell import cut, length
from broker.core.house import Presence
from broker.core.operations import Looking, Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.store.sqlite import Look
from broker.wire.dispatch import (
    Attempt,
    Dispatch,
    Dispatches,
    DispatchStatus,
    GetDispatch,
    ListDispatches,
)
from broker.wire.errors import Refused
from broker.wire.fields import NULL
from broker.wire.frames import encode

sql = Queries(__file__)
BY_ID = sql.take("by_id")
BY_KEY = sql.take("by_key")
ATTEMPTS = sql.take("attempts")
LIST = sql.take("list")
LIST_STATUS = sql.take("list_status")
LIST_AGENT_TYPE = sql.take("list_agent_type")
LIST_DAG_TASK = sql.take("list_dag_task")
FIGURES = sql.take("figures")
sql.close()

operations = Operations()

SHOWN_ATTEMPTS: Final = 100
"""The newest ones; a dispatch that was reopened again and again has more."""

ROOM_FOR_NAMES: Final = 2_048
"""What a frame needs besides what is counted: the reply's own fields and a request's longest id."""

ATTEMPT_BYTES: Final = 420
"""What an attempt is at most without its texts: names, numbers, its owner, two ellipses."""

Row = tuple[Any, ...]

STATUSES: Final[tuple[DispatchStatus, ...]] = get_args(DispatchStatus)


@operations.handle(GetDispatch, reads=True)
def get(turn: Turn, caller: Presence, request: GetDispatch) -> Looking:
    """Show a dispatch of the mesh."""
    statement, name = BY_KEY, request.dispatch_key
    values: tuple[int, str | int | None] = (caller.mesh.id, name)
    if request.dispatch is not None:
        statement, name = BY_ID, request.dispatch
        values = (caller.mesh.id, number_of(name))
    most = turn.settings.limits.frame - ROOM_FOR_NAMES

    def look(look: Look) -> Dispatch:
        row = look.one(statement, values)
        if row is None:
            raise Refused("not_found", f"no dispatch {str(name)[:64]!r} in this mesh")
        return _show(look, row, most)[0]

    return Looking(look)


@operations.handle(ListDispatches, reads=True)
def list_dispatches(turn: Turn, caller: Presence, request: ListDispatches) -> Looking:
    """List dispatches, oldest first: as many as fit into a frame, and always one."""
    after = 0
    if request.after is not None:
        number = number_of(request.after)
        if number is None:
            raise Refused("bad_request", "after: not a cursor of this list")
        after = number
    mesh_id, limit = caller.mesh.id, request.limit
    statement = _statement(request)
    values = (
        mesh_id,
        after,
        request.status,
        request.agent_type,
        request.dag_task_id,
        limit + 1,
    )
    most = turn.settings.limits.frame - ROOM_FOR_NAMES

    def look(look: Look) -> Dispatches:
        shown: list[Dispatch] = []
        room = most
        ids = look.all(statement, values)
        for (id,) in ids[:limit]:
            row = look.one(BY_ID, (mesh_id, id))
            assert row is not None
            dispatch, size = _show(look, row, most)
            if shown and size > room:
                break
            room -= size
            shown.append(dispatch)
        more = len(shown) < len(ids)
        return Dispatches(dispatches=shown, next=shown[-1].dispatch if more else None)

    return Looking(look)


def figures(look: Look, mesh_id: int) -> dict[DispatchStatus, int]:
    """How many dispatches of a mesh there are in each status."""
    counts = dict.fromkeys(STATUSES, 0)
    counts.update(look.all(FIGURES, (mesh_id,)))
    return counts


def _statement(request: ListDispatches) -> str:
    """The one that looks at the fewest rows: each goes along the index of its first filter."""
    if request.dag_task_id is not None:
        return LIST_DAG_TASK
    if request.agent_type is not None:
        return LIST_AGENT_TYPE
    return LIST if request.status is None else LIST_STATUS


def _show(look: Look, row: Row, most: int) -> tuple[Dispatch, int]:
    """A dispatch, and how many bytes it is as JSON with a comma behind it."""
    shown = Dispatch(
        dispatch=written(row[0]),
        dispatch_key=row[1],
        agent_type=row[2],
        dag_task_id=row[3],
        prompt_sha256=row[4],
        parent_session_id=row[5],
        status=row[6],
        context=NULL if row[7] is None else Raw(row[7]),
        outcome=UNSET if row[8] is None else Raw(row[8]),
        created_at=row[9],
        finished_at=row[10],
        attempts=[],
    )
    attempts = look.all(ATTEMPTS, (row[0], SHOWN_ATTEMPTS))
    shown.attempts = _fitting(attempts, most - len(encode(shown)))
    return shown, len(encode(shown)) + 1


def _fitting(rows: list[Row], room: int) -> list[Attempt]:
    """Attempts, oldest first. Where texts have no room any more, the older ones are cut."""
    room -= len(rows) * ATTEMPT_BYTES
    attempts: list[Attempt] = []
    for number, status, owner, created_at, leased_at, finished_at, *texts in rows:
        for place, text in enumerate(texts):
            if text is not None:
                texts[place] = cut(text, room)
                room -= length(texts[place])
        reason, error = texts
        attempts.append(
            Attempt(
                attempt=number,
                status=status,
                lease_owner=owner,
                created_at=created_at,
                leased_at=leased_at,
                finished_at=finished_at,
                reason=reason,
                error=error,
            )
        )
    return attempts[::-1]
