"""Sending on the wire: what a message is made of, and how it is called back.

Owns: the requests and answers by which a sender acts. Knows nothing of how mail is stored.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Raw, Struct

from broker.wire.fields import (
    NULL,
    AheadMs,
    Attempts,
    Identifier,
    Key,
    Label,
    LifeMs,
    Priority,
)
from broker.wire.frames import Answer, Request

DeliveryState = Literal["queued", "claimed", "acked", "dead", "expired", "cancelled"]
Transport = Literal["online", "away", "offline"]
Targets = str | Annotated[list[str], Meta(min_length=1)]


class Content(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """What is sent: an output of an ack is one of these, a `mail.send` adds its id."""

    to: Targets
    body: Raw
    key: Key | None = None
    kind: Label = "message"
    priority: Priority = 50
    ttl_ms: LifeMs | None = None
    delay_ms: AheadMs = 0
    reply_to: Identifier | None = None
    meta: Raw = NULL
    receipt: bool = False
    max_attempts: Attempts | None = None
    dedupe: Literal["window", "active"] = "window"


class Copy(Struct, gc=False):
    """One delivery as a send's answer shows it."""

    # Made for every message, like `Sent`: by position, which takes half the time of names.

    delivery: str
    to: str
    state: DeliveryState
    queued: bool
    depth: int
    transport: Transport


class Sent(Answer, kw_only=False):
    """A send that is stored."""

    message: str
    seq: int
    total: int
    deliveries: list[Copy]
    duplicate: bool = False


class Send(Request, tag="mail.send"):
    """Send a body to members, sessions, groups, topics or everybody."""

    # The fields are Content's. msgspec structs can't have two bases with fields, so they stand here
    # again, and a test compares them.
    Answer: ClassVar[type[Answer]] = Sent

    to: Targets
    body: Raw
    key: Key | None = None
    kind: Label = "message"
    priority: Priority = 50
    ttl_ms: LifeMs | None = None
    delay_ms: AheadMs = 0
    reply_to: Identifier | None = None
    meta: Raw = NULL
    receipt: bool = False
    max_attempts: Attempts | None = None
    dedupe: Literal["window", "active"] = "window"


class Cancelled(Answer):
    """How many deliveries were stopped, and for how many it was too late."""

    cancelled: int
    too_late: int


class Cancel(Request, tag="mail.cancel"):
    """Stop the deliveries of an own message that nobody holds."""

    Answer: ClassVar[type[Answer]] = Cancelled

    message: Identifier
