"""Delegations on the wire: the ledger of who asked whom for what.

Owns: the requests and answers of delegations. Knows nothing of which step may follow which.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from broker.wire.fields import Cursor, Identifier, Key, LifeMs, Limit, Text, check_texts
from broker.wire.frames import Answer, Request

DelegationStatus = Literal[
    "queued", "dispatched", "in_progress", "completed", "failed", "stuck", "cancelled"
]


class Opened(Answer, omit_defaults=True):
    """The delegation of this id or key, opened now or before."""

    delegation: str
    status: DelegationStatus
    created: bool
    message: str | None = None


class Open(Request, tag="delegation.open"):
    """Record that the caller asks a member for something, and mail it if so wished."""

    Answer: ClassVar[type[Answer]] = Opened

    callee: Identifier
    task: Raw
    delegation: Identifier | None = None
    key: Key | None = None
    deadline_ms: LifeMs | None = None
    send: bool = False


class Updated(Answer):
    """The status that stands. `late` says that what came with the call came after the end."""

    status: DelegationStatus
    duplicate: bool = False
    late: bool = False


class Update(Request, tag="delegation.update"):
    """Take a delegation a step further, or end it."""

    Answer: ClassVar[type[Answer]] = Updated

    delegation: Identifier
    status: DelegationStatus
    result: Raw | UnsetType = UNSET
    error: Text | None = None

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(error=self.error)


class Beat(Answer):
    """The status that stands."""

    status: DelegationStatus


class Heartbeat(Request, tag="delegation.heartbeat"):
    """Say that a delegation is still worked on."""

    Answer: ClassVar[type[Answer]] = Beat

    delegation: Identifier
    note: Text | None = None

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(note=self.note)


class Entry(Struct, kw_only=True, gc=False, omit_defaults=True):
    """One step in the life of a delegation."""

    at: int
    status: DelegationStatus
    by: str
    note: str | None = None
    result: Raw | UnsetType = UNSET
    error: str | None = None
    late: bool = False


class Delegation(Answer, kw_only=True, omit_defaults=True):
    """A delegation with its history."""

    delegation: str
    caller: str
    callee: str
    task: Raw
    status: DelegationStatus
    result: Raw | UnsetType = UNSET
    error: str | None = None
    reason: str | None = None
    key: str | None = None
    deadline_at: int
    last_heartbeat_at: int | None = None
    created_at: int
    updated_at: int
    finished_at: int | None = None
    message: str | None = None
    history: list[Entry]


class GetDelegation(Request, tag="delegation.get"):
    """Show a delegation with its history."""

    Answer: ClassVar[type[Answer]] = Delegation

    delegation: Identifier


class DelegationPreview(Struct, kw_only=True, gc=False, omit_defaults=True):
    """A delegation as lists show it: the first characters of task and result, no history."""

    delegation: str
    caller: str
    callee: str
    task_preview: str
    status: DelegationStatus
    result_preview: str | None = None
    error: str | None = None
    reason: str | None = None
    key: str | None = None
    deadline_at: int
    last_heartbeat_at: int | None = None
    created_at: int
    updated_at: int
    finished_at: int | None = None
    message: str | None = None


class Delegations(Answer):
    """A page of delegations."""

    delegations: list[DelegationPreview]
    next: str | None = None


class ListDelegations(Request, tag="delegation.list", rename={"as_": "as"}):
    """List the delegations that the caller has opened or been given; an admin sees all."""

    Answer: ClassVar[type[Answer]] = Delegations

    as_: Literal["caller", "callee"] | None = None
    status: DelegationStatus | None = None
    limit: Limit = 200
    after: Cursor | None = None


class DelegationStats(Answer):
    """How many delegations stand where; the age is null when none is in flight."""

    by_status: dict[DelegationStatus, int]
    oldest_in_flight_ms: int | None


class GetDelegationStats(Request, tag="delegation.stats"):
    """Count the delegations of the mesh by status."""

    Answer: ClassVar[type[Answer]] = DelegationStats
