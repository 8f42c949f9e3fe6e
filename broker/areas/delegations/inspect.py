"""Looking at delegations: one with its history, lists with previews, counts.

Owns: what is shown, to whom, in which order, and how much of it fits one frame. Reads beside the
writer and changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, Raw

from broker.areas.delegations.record import unknown
from broker.areas.delegations.states import IN_FLIGHT, STATUSES
from broker.core.house import Presence
from broker.core.operations import Looking, Operations
from broker.core.pages import ENVELOPE, page, position
from broker.core.turn import FAR, Turn
from broker.store.queries import Queries
from broker.store.sqlite import Look
from broker.wire.delegations import (
    Delegation,
    DelegationPreview,
    Delegations,
    DelegationStats,
    DelegationStatus,
    Entry,
    GetDelegation,
    GetDelegationStats,
    ListDelegations,
)
from broker.wire.errors import Refused
from broker.wire.frames import encode

sql = Queries(__file__)
GET = sql.take("get")
STEPS = sql.take("steps")
RESULT = sql.take("result")
AS_CALLER = sql.take("as_caller")
AS_CALLEE = sql.take("as_callee")
EVERYBODYS = sql.take("everybodys")
EVERYBODYS_BY_STATUS = sql.take("everybodys_by_status")
COUNTS = sql.take("counts")
OLDEST = sql.take("oldest")
sql.close()

operations = Operations()

NOUN: Final = "delegation"
ENTRIES: Final = 500
"""The most steps of a history that are shown: a talkative worker does not fill the frame."""

Row = tuple[Any, ...]


@operations.handle(GetDelegation, reads=True)
def get(turn: Turn, caller: Presence, request: GetDelegation) -> Looking:
    """Show a delegation with its history."""
    mesh_id, member_id, steers = caller.mesh.id, caller.member.id, caller.member.steers
    room = turn.settings.limits.frame - ENVELOPE

    def look(look: Look) -> Delegation:
        row = look.one(GET, (mesh_id, request.delegation))
        if row is None or not (steers or member_id in row[:2]):
            raise unknown(request.delegation)
        shown = Delegation(
            delegation=row[2],
            caller=row[3],
            callee=row[4],
            task=Raw(row[5]),
            status=row[6],
            result=UNSET if row[7] is None else Raw(row[7]),
            error=row[8],
            reason=row[9],
            key=row[10],
            deadline_at=row[11],
            last_heartbeat_at=row[12],
            created_at=row[13],
            updated_at=row[14],
            finished_at=row[15],
            message=None if row[16] is None else f"m{row[16]}",
            history=[],
        )
        shown.history = _history(look, mesh_id, request.delegation, room - len(encode(shown)))
        return shown

    return Looking(look)


def _history(look: Look, mesh_id: int, id: str, room: int) -> list[Entry]:
    """The steps, oldest first. If not all fit, the newest do; a result gives way to the steps."""
    entries: list[Entry] = []
    for number, at, status, by, note, error, late, size in look.all(STEPS, (mesh_id, id, ENTRIES)):
        entry = Entry(at=at, status=status, by=by, note=note, error=error, late=bool(late))
        bare = len(encode(entry)) + 1
        if bare > room:
            break
        room -= bare
        named = len(',"result":')
        if size is not None and size + named <= room:
            row = look.one(RESULT, (number,))
            assert row is not None, number
            entry.result = Raw(row[0])
            room -= size + named
        entries.append(entry)
    entries.reverse()
    return entries


@operations.handle(ListDelegations, reads=True)
def list_delegations(turn: Turn, caller: Presence, request: ListDelegations) -> Looking:
    """List delegations, newest first: the caller's own, or all of the mesh for an admin."""
    after = _place(request.after)
    mesh_id, member, status, most = caller.mesh.id, caller.member, request.status, request.limit + 1
    own = (mesh_id, member.name, *after, status, member.id, most)
    wanted: list[tuple[str, Row]] = []
    if request.as_ is None and member.steers:
        if status is None:
            wanted.append((EVERYBODYS, (mesh_id, *after, most)))
        else:
            wanted.append((EVERYBODYS_BY_STATUS, (mesh_id, status, *after, most)))
    if request.as_ == "caller" or (request.as_ is None and not member.steers):
        wanted.append((AS_CALLER, own))
    if request.as_ == "callee" or (request.as_ is None and not member.steers):
        wanted.append((AS_CALLEE, own))
    frame = turn.settings.limits.frame

    def look(look: Look) -> Delegations:
        rows = {row for statement, values in wanted for row in look.all(statement, values)}
        newest = sorted(rows, key=lambda row: (row[11], row[0]), reverse=True)
        found = ((f"{row[11]}.{row[0]}", _preview(row)) for row in newest)
        delegations, goes_on = page(NOUN, found, request.limit, frame)
        return Delegations(delegations=delegations, next=goes_on)

    return Looking(look)


def _place(after: str | None) -> tuple[int, str]:
    """Where a page begins: after this instant and id, going back in time."""
    place = position(NOUN, after)
    if not place:
        return FAR, ""
    at, point, id = place.partition(".")
    if not (point and at.isascii() and at.isdecimal() and len(at) < len(str(FAR))):
        raise Refused("bad_request", "after: this is no cursor of this list")
    return int(at), id


def _preview(row: Row) -> DelegationPreview:
    return DelegationPreview(
        delegation=row[0],
        caller=row[1],
        callee=row[2],
        task_preview=row[3],
        status=row[4],
        result_preview=row[5],
        error=row[6],
        reason=row[7],
        key=row[8],
        deadline_at=row[9],
        last_heartbeat_at=row[10],
        created_at=row[11],
        updated_at=row[12],
        finished_at=row[13],
        message=None if row[14] is None else f"m{row[14]}",
    )


@operations.handle(GetDelegationStats, reads=True)
def stats(turn: Turn, caller: Presence, request: GetDelegationStats) -> Looking:
    """Count the delegations of the mesh by status."""
    mesh_id, now = caller.mesh.id, turn.now

    def look(look: Look) -> DelegationStats:
        began = [
            row[0]
            for status in IN_FLIGHT
            if (row := look.one(OLDEST, (mesh_id, status))) is not None
        ]
        return DelegationStats(
            by_status=figures(look, mesh_id),
            oldest_in_flight_ms=max(now - min(began), 0) if began else None,
        )

    return Looking(look)


def figures(look: Look, mesh_id: int) -> dict[DelegationStatus, int]:
    """How many delegations of a mesh stand where, all seven statuses named."""
    counts = dict.fromkeys(STATUSES, 0)
    counts.update(look.all(COUNTS, (mesh_id,)))
    return counts
