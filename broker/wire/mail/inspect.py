"""Looking at mail on the wire, and clearing up: trace, lists, redrive, drop.

Owns: the requests and answers that show deliveries or change many. Knows nothing of who may.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from broker.wire.fields import Address, Bulk, Cursor, Identifier, Limit
from broker.wire.frames import Answer, Request
from broker.wire.mail.send import DeliveryState, Targets

AgeMs = Annotated[int, Meta(ge=0)]


class Step(Struct, kw_only=True, gc=False, omit_defaults=True):
    """One step in the life of a delivery. `count` is there where a step stands for several."""

    event: Literal[
        "accepted",
        "claimed",
        "extended",
        "nacked",
        "released",
        "acked",
        "dead",
        "expired",
        "cancelled",
        "redriven",
    ]
    at: int
    presence: str | None = None
    reason: str | None = None
    note: str | None = None
    count: int | None = None


class Traced(Struct, kw_only=True, gc=False):
    """One delivery of a traced message, with its history."""

    delivery: str
    mailbox: str
    seq: int
    state: DeliveryState
    failures: int
    claims: int
    last_error: str | None
    claim_id: str | None
    claimed_at: int | None
    delivered_at: int | None
    history: list[Step]


class Trace(Answer, rename={"from_": "from"}):
    """A message and the life of its deliveries, without its body."""

    message: str
    from_: str
    to: Targets
    kind: str
    priority: int
    sent_at: int
    total: int
    deliveries: list[Traced]
    next: str | None = None


class TraceMessage(Request, tag="mail.trace"):
    """Show what became of each delivery of a message."""

    Answer: ClassVar[type[Answer]] = Trace

    message: Identifier
    limit: Limit = 200
    after: Cursor | None = None


class Listed(Struct, kw_only=True, gc=False, rename={"from_": "from"}):
    """A delivery as lists show it."""

    delivery: str
    message: str
    mailbox: str
    seq: int
    from_: str
    kind: str
    priority: int
    state: DeliveryState
    failures: int
    last_error: str | None
    sent_at: int
    ready_at: int | None
    claimed_at: int | None
    delivered_at: int | None


class Listing(Answer):
    """A page of deliveries."""

    deliveries: list[Listed]
    next: str | None = None


class ListMail(Request, tag="mail.list"):
    """List the deliveries of a mailbox without claiming them."""

    Answer: ClassVar[type[Answer]] = Listing

    mailbox: Address | None = None
    state: DeliveryState | None = None
    limit: Limit = 200
    after: Cursor | None = None


class ListDead(Request, tag="mail.dead"):
    """List the dead deliveries of a mailbox."""

    Answer: ClassVar[type[Answer]] = Listing

    mailbox: Address | None = None
    limit: Limit = 200
    after: Cursor | None = None


class Changed(Answer):
    """How many deliveries were changed, and whether there are more of the kind."""

    count: int
    more: bool


class Redrive(Request, tag="mail.redrive"):
    """Put a dead delivery, or those of a mailbox, back into the queue as if new."""

    Answer: ClassVar[type[Answer]] = Changed

    delivery: Identifier | None = None
    mailbox: Address | None = None
    limit: Bulk = 1_000

    def __post_init__(self) -> None:
        """Want one object of the operation."""
        _one_of(self.delivery, self.mailbox)


class Drop(Request, tag="mail.drop"):
    """End a delivery, or the dead or queued ones of a mailbox, as cancelled."""

    Answer: ClassVar[type[Answer]] = Changed

    delivery: Identifier | None = None
    mailbox: Address | None = None
    state: Literal["dead", "queued"] | None = None
    older_than_ms: AgeMs | None = None
    limit: Bulk = 1_000

    def __post_init__(self) -> None:
        """Want one object of the operation."""
        _one_of(self.delivery, self.mailbox)


def _one_of(delivery: str | None, mailbox: str | None) -> None:
    if (delivery is None) == (mailbox is None):
        raise ValueError("one of `delivery` and `mailbox` must be given, and only one")
