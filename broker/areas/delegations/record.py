"""A delegation as its row stands, and who may see it.

Owns: `Record` and how one is found: by its id, its caller's key or its mail. Changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from broker.core.house import Presence
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.delegations import DelegationStatus
from broker.wire.errors import Refused

sql = Queries(__file__)
FIND = sql.take("find")
OF_KEY = sql.take("of_key")
OF_MESSAGE = sql.take("of_message")
sql.close()


class Record(NamedTuple):
    """What deciding about a delegation takes."""

    mesh_id: int
    id: str
    caller: str
    caller_member: int
    callee: str
    callee_member: int
    opened_sha256: bytes
    status: DelegationStatus
    said_sha256: bytes | None
    reason: str | None
    message: int | None


def find(turn: Turn, mesh_id: int, id: str) -> Record | None:
    """The delegation of this id."""
    row = turn.one(FIND, (mesh_id, id))
    return None if row is None else Record(*row)


def of_key(turn: Turn, mesh_id: int, caller: str, key: str) -> Record | None:
    """The delegation that somebody of this name opened with this key."""
    row = turn.one(OF_KEY, (mesh_id, caller, key))
    return None if row is None else find(turn, mesh_id, row[0])


def of_message(turn: Turn, message: int) -> Record | None:
    """The delegation whose task this message carries."""
    row = turn.one(OF_MESSAGE, (message,))
    return None if row is None else find(turn, *row)


def seen(turn: Turn, caller: Presence, id: str) -> Record:
    """The delegation of this id, for its two parties and admins; for others it does not exist."""
    record = find(turn, caller.mesh.id, id)
    member = caller.member
    if record is None or not (
        member.steers or member.id in (record.caller_member, record.callee_member)
    ):
        raise unknown(id)
    return record


def unknown(id: str) -> Refused:
    """What is answered for a delegation that is not there, or none of the caller's business."""
    return Refused("not_found", f"delegation: no delegation {id!r} of yours")
