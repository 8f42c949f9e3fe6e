"""The two phases on the wire: a delivery is handed over, then acked or given back.

Owns: the requests, answers and events by which a recipient acts. Knows nothing of who is chosen.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Raw, Struct, field

from broker.wire.fields import Address, AheadMs, Identifier, LeaseMs, Text, check_texts
from broker.wire.frames import Answer, Event, Request
from broker.wire.mail.send import Content, DeliveryState, Sent

WaitMs = Annotated[int, Meta(ge=0, le=60_000)]
ClaimMany = Annotated[int, Meta(ge=1, le=100)]


class Delivery(Struct, kw_only=True, gc=False, rename={"from_": "from"}):
    """A delivery that is handed over: pushed as `mail.deliver`, or pulled by `mail.claim`."""

    delivery: str
    claim: str
    message: str
    seq: int
    from_: str
    to: str
    mailbox: str
    kind: str
    priority: int
    body: Raw
    meta: Raw
    reply_to: str | None
    sent_at: int
    attempt: int
    claims: int
    max_attempts: int
    lease_ms: int
    claim_expires_at: int
    preempt: bool


class Deliver(Delivery, tag_field="ev", tag="mail.deliver"):
    """A delivery is handed to this presence, claimed in its name."""


class Claimed(Answer):
    """What a claim got, possibly nothing."""

    deliveries: list[Delivery]


class Claim(Request, tag="mail.claim"):
    """Pull deliveries from a mailbox, waiting for the first if there is none."""

    Answer: ClassVar[type[Answer]] = Claimed

    max: ClaimMany = 1
    wait_ms: WaitMs = 0
    lease_ms: LeaseMs | None = None
    mailbox: Address | None = None


class Acked(Answer, kw_only=True):
    """The delivery is done, and its outputs are sent."""

    state: Literal["acked"] = "acked"
    outputs: list[Sent]
    duplicate: bool = False


class Ack(Request, tag="mail.ack"):
    """Finish a delivery and send its outputs, all in one transaction."""

    Answer: ClassVar[type[Answer]] = Acked

    delivery: Identifier
    claim: Identifier
    outputs: list[Content] = field(default_factory=list)


class Nacked(Answer):
    """Where the delivery went, and when it may be claimed again (null when it never will)."""

    state: DeliveryState
    failures: int
    ready_at: int | None


class Nack(Request, tag="mail.nack"):
    """Give a delivery back to its queue, or bury it."""

    Answer: ClassVar[type[Answer]] = Nacked

    delivery: Identifier
    claim: Identifier
    delay_ms: AheadMs | None = None
    reason: Text | None = None
    blame: bool = True
    dead: bool = False

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(reason=self.reason)


class Extended(Answer):
    """The lease from now on."""

    lease_ms: int
    claim_expires_at: int


class Extend(Request, tag="mail.extend"):
    """Say that a claimed delivery is still worked on."""

    Answer: ClassVar[type[Answer]] = Extended

    delivery: Identifier
    claim: Identifier
    lease_ms: LeaseMs | None = None
    note: Text | None = None

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(note=self.note)


class Progress(Event, tag="mail.progress"):
    """Whoever holds a delivery of this member's message says how far it is."""

    message: str
    delivery: str
    mailbox: str
    note: str
