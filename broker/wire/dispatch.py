"""Dispatches on the wire: exact work for exactly one worker.

Owns: the requests and answers of dispatch. Knows nothing of how a key is computed or a lease kept.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from broker.wire.fields import (
    NULL,
    Address,
    Attempts,
    Cursor,
    Identifier,
    Identity,
    LeaseMs,
    LifeMs,
    Limit,
    Text,
    check_texts,
)
from broker.wire.frames import Answer, Request

DispatchStatus = Literal["pending", "leased", "consumed", "failed", "expired", "cancelled"]
Prompt = Annotated[str, Meta(min_length=1)]


class Created(Answer):
    """The dispatch of this identity, made now or before."""

    dispatch: str
    dispatch_key: str
    prompt_sha256: str
    status: DispatchStatus
    attempt: int
    created: bool
    outcome: Raw | UnsetType = UNSET


class Create(Request, tag="dispatch.create"):
    """Queue one identified piece of work."""

    Answer: ClassVar[type[Answer]] = Created

    agent_type: Identity
    dag_task_id: Identity
    parent_session_id: Identity
    prompt: Prompt
    prompt_sha256: Identifier | None = None
    context: Raw = NULL
    max_attempts: Attempts | None = None
    ttl_ms: LifeMs | None = None
    retry: bool = False
    notify: Address | None = None


class Leased(Answer):
    """The work, and the lease under which the caller holds it."""

    dispatch: str
    dispatch_key: str
    prompt: str
    prompt_sha256: str
    context: Raw
    attempt: int
    lease_token: str
    lease_ms: int
    lease_expires_at: int


class Lease(Request, tag="dispatch.lease"):
    """Take exactly this piece of work, named by its key or by its four identity fields."""

    Answer: ClassVar[type[Answer]] = Leased

    call_id: Identifier
    dispatch_key: Identifier | None = None
    agent_type: Identity | None = None
    dag_task_id: Identity | None = None
    prompt_sha256: Identity | None = None
    parent_session_id: Identity | None = None
    lease_ms: LeaseMs | None = None

    def __post_init__(self) -> None:
        """Want the whole identity where there is no key."""
        if self.dispatch_key is None:
            for field in ("agent_type", "dag_task_id", "prompt_sha256", "parent_session_id"):
                if getattr(self, field) is None:
                    raise ValueError(f"without `dispatch_key` the field `{field}` is required")


class Renewed(Answer):
    """The lease from now on."""

    lease_ms: int
    lease_expires_at: int


class Renew(Request, tag="dispatch.renew"):
    """Hold a lease for longer."""

    Answer: ClassVar[type[Answer]] = Renewed

    dispatch: Identifier
    lease_token: Identifier
    lease_ms: LeaseMs | None = None


class Finished(Answer):
    """The status that stands, and whether this call had been made before."""

    status: DispatchStatus
    duplicate: bool = False


class Consume(Request, tag="dispatch.consume"):
    """Finish leased work with its outcome."""

    Answer: ClassVar[type[Answer]] = Finished

    dispatch: Identifier
    lease_token: Identifier
    outcome: Raw | UnsetType = UNSET


class Fail(Request, tag="dispatch.fail"):
    """Give leased work up, for good or for another attempt."""

    Answer: ClassVar[type[Answer]] = Finished

    dispatch: Identifier
    lease_token: Identifier
    reason: Text
    error: Text | None = None
    retryable: bool = False

    def __post_init__(self) -> None:
        """Bound the texts in bytes."""
        check_texts(reason=self.reason, error=self.error)


class CancelDispatch(Request, tag="dispatch.cancel"):
    """Withdraw work that nobody has leased."""

    Answer: ClassVar[type[Answer]] = Finished

    dispatch: Identifier


class Attempt(Struct, kw_only=True, gc=False, omit_defaults=True):
    """One attempt at a dispatch."""

    attempt: int
    status: DispatchStatus
    lease_owner: str | None = None
    created_at: int
    leased_at: int | None = None
    finished_at: int | None = None
    reason: str | None = None
    error: str | None = None


class Dispatch(Answer, kw_only=True, omit_defaults=True):
    """A dispatch with its attempts, without its prompt and lease token."""

    dispatch: str
    dispatch_key: str
    agent_type: str
    dag_task_id: str
    prompt_sha256: str
    parent_session_id: str
    status: DispatchStatus
    context: Raw
    outcome: Raw | UnsetType = UNSET
    created_at: int
    finished_at: int | None = None
    attempts: list[Attempt]


class GetDispatch(Request, tag="dispatch.get"):
    """Show a dispatch, named by its id or its key."""

    Answer: ClassVar[type[Answer]] = Dispatch

    dispatch: Identifier | None = None
    dispatch_key: Identifier | None = None

    def __post_init__(self) -> None:
        """Want one name of the dispatch."""
        if (self.dispatch is None) == (self.dispatch_key is None):
            raise ValueError("one of `dispatch` and `dispatch_key` must be given, and only one")


class Dispatches(Answer):
    """A page of dispatches."""

    dispatches: list[Dispatch]
    next: str | None = None


class ListDispatches(Request, tag="dispatch.list"):
    """List the dispatches of the mesh."""

    Answer: ClassVar[type[Answer]] = Dispatches

    status: DispatchStatus | None = None
    agent_type: Identifier | None = None
    dag_task_id: Identifier | None = None
    limit: Limit = 200
    after: Cursor | None = None
