"""One mail in an application's hands, until it is acked or given back.

Owns: what can be read of a delivery and done with it. Where it came from and how a lease is kept
is the intake's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Raw

from broker.wire.fields import MAX_TEXT_BYTES
from broker.wire.mail import Acked, Content, Delivery, Extended, Nacked, Sent
from clients.errors import BodyUnreadable
from clients.outputs import output, written

T = TypeVar("T")
Outputs = Iterable[Content | Mapping[str, Any]]

HELD: Final = 0
SETTLING: Final = 1
SETTLED: Final = 2

Read = Callable[[Raw], Any]

read_any: Final[Read] = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def reader(type: Any) -> Read:  # noqa: A002 - the word of msgspec
    """Make what decodes bodies of a type."""
    return read_any if type is Any or type is None else msgspec.json.Decoder(type).decode


class Desk(Protocol):
    """What a mail asks of the client that holds it."""

    async def settle(self, mail: Mail[Any], op: str, fields: bytes) -> Any:
        """End the claim, and wait for the answer."""

    def settle_quietly(self, mail: Mail[Any], op: str, fields: bytes) -> None:
        """End the claim; what goes wrong is logged."""

    async def prolong(self, mail: Mail[Any], fields: bytes) -> Extended:
        """Extend the lease, and wait for the answer."""

    def renew(self, mail: Mail[Any], fields: bytes) -> None:
        """Extend the lease; nobody waits."""


class Mail(Generic[T]):
    """A delivery that this client holds a claim on."""

    __slots__ = ("_body", "_desk", "delivered", "lease_ms", "lost", "read", "state")

    def __init__(self, desk: Desk, delivered: Delivery, lease_ms: int | None = None) -> None:
        self._desk = desk
        self._body: Any = UNSET
        self.delivered = delivered
        """The delivery as the broker wrote it."""
        self.lease_ms = lease_ms
        """The lease that is asked for at renewals; None leaves it to the broker."""
        self.read: Read = read_any
        """How `body` is decoded."""
        self.state = HELD
        self.lost = False
        """Whether the lease has ended before the work: somebody else may be handed the mail. An ack
        is still worth trying; the broker refuses it if somebody was."""

    def __repr__(self) -> str:
        """Name the delivery; never show a body."""
        one = self.delivered
        return f"<Mail {one.message} {one.kind!r} from {one.from_} ({one.delivery})>"

    # -- what it says -----------------------------------------------------------------------------

    @property
    def message(self) -> str:
        """The id of the message, the same at every attempt: remember it to notice repetitions."""
        return self.delivered.message

    @property
    def delivery(self) -> str:
        """The id of this copy of the message."""
        return self.delivered.delivery

    @property
    def claim(self) -> str:
        """The claim under which it is held."""
        return self.delivered.claim

    @property
    def sender(self) -> str:
        """Who sent it, stamped by the broker; a reply goes there."""
        return self.delivered.from_

    @property
    def to(self) -> str:
        """The target as the sender wrote it."""
        return self.delivered.to

    @property
    def mailbox(self) -> str:
        """The mailbox that it came through."""
        return self.delivered.mailbox

    @property
    def kind(self) -> str:
        """The kind that the sender gave."""
        return self.delivered.kind

    @property
    def priority(self) -> int:
        """0 to 255, higher first."""
        return self.delivered.priority

    @property
    def seq(self) -> int:
        """Its number in the mailbox."""
        return self.delivered.seq

    @property
    def attempt(self) -> int:
        """1 at first, then one more after each failure."""
        return self.delivered.attempt

    @property
    def reply_to(self) -> str | None:
        """The message that this one answers."""
        return self.delivered.reply_to

    @property
    def sent_at(self) -> int:
        """When it was sent, in epoch milliseconds."""
        return self.delivered.sent_at

    @property
    def meta(self) -> dict[str, Any] | None:
        """What the sender gave beside the body."""
        meta: dict[str, Any] | None = read_any(self.delivered.meta)
        return meta

    @property
    def raw(self) -> bytes:
        """The body's JSON, byte for byte as it was sent."""
        return bytes(self.delivered.body)

    @property
    def body(self) -> T:
        """The body, decoded when it is first asked for."""
        if self._body is UNSET:
            self._body = self._decoded(self.read)
        body: T = self._body
        return body

    def decode(self, type: Any) -> Any:  # noqa: A002 - the word of msgspec
        """Decode the body as a type, or raise `BodyUnreadable`."""
        return self._decoded(reader(type))

    def _decoded(self, read: Read) -> Any:
        try:
            return read(self.delivered.body)
        except (msgspec.MsgspecError, RecursionError) as fault:
            raise BodyUnreadable(f"the body of {self.message}: {fault}") from fault

    # -- what can be done with it -----------------------------------------------------------------

    async def ack(self, outputs: Outputs = ()) -> Acked:
        """Say that it is done, and send the outputs, all in one transaction."""
        acked: Acked = await self._desk.settle(self, "mail.ack", self._acking(outputs))
        return acked

    async def reply(self, body: Any, *, outputs: Outputs = (), **fields: Any) -> Sent:
        """Ack it with an answer to its sender."""
        fields.setdefault("reply_to", self.message)
        answer = output(fields.pop("to", self.sender), body, **fields)
        acked = await self.ack([answer, *outputs])
        return acked.outputs[0]

    async def nack(
        self,
        reason: str | None = None,
        *,
        delay_ms: int | None = None,
        blame: bool = True,
        dead: bool = False,
    ) -> Nacked:
        """Give it back to its queue, or bury it with `dead`."""
        fields = self._nacking(reason, delay_ms=delay_ms, blame=blame, dead=dead)
        nacked: Nacked = await self._desk.settle(self, "mail.nack", fields)
        return nacked

    async def extend(self, note: str | None = None, *, lease_ms: int | None = None) -> Extended:
        """Say that it is still worked on; the sender sees the note. Plain ones go by themselves."""
        fields = self._named()
        if note is not None:
            fields["note"] = note
        lease_ms = lease_ms or self.lease_ms
        if lease_ms is not None:
            fields["lease_ms"] = lease_ms
        return await self._desk.prolong(self, _encode(fields))

    @property
    def settled(self) -> bool:
        """Whether it was acked or given back, or is about to be."""
        return self.state != HELD

    async def __aenter__(self) -> Mail[T]:
        """Ack it when the block ends, give it back if that fails."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle it, if the block has not."""
        if self.settled:
            return
        if fault is None:
            await self.ack()
        else:
            self.give_back(fault)

    # -- what the client does with it -------------------------------------------------------------

    def done(self) -> None:
        """Ack it; nobody waits for the answer."""
        self._desk.settle_quietly(self, "mail.ack", self._acking(()))

    def give_back(self, fault: BaseException) -> None:
        """Nack it for what went wrong: buried if it can't be read, blameless if interrupted."""
        fields = self._nacking(
            cut(f"{type(fault).__name__}: {fault}"),
            blame=isinstance(fault, Exception),
            dead=isinstance(fault, BodyUnreadable),
        )
        self._desk.settle_quietly(self, "mail.nack", fields)

    def release(self, reason: str) -> None:
        """Give it back without blame."""
        self._desk.settle_quietly(self, "mail.nack", self._nacking(reason, blame=False))

    @property
    def wanted(self) -> bool:
        """Whether its lease is to be kept."""
        return self.state != SETTLED and not self.lost

    def renew(self) -> None:
        """Keep the lease."""
        fields = self._named()
        if self.lease_ms is not None:
            fields["lease_ms"] = self.lease_ms
        self._desk.renew(self, _encode(fields))

    def _named(self) -> dict[str, Any]:
        return {"delivery": self.delivered.delivery, "claim": self.delivered.claim}

    def _acking(self, outputs: Outputs) -> bytes:
        fields = self._named()
        if outputs:
            fields["outputs"] = written(outputs)
        return _encode(fields)

    def _nacking(
        self,
        reason: str | None,
        *,
        delay_ms: int | None = None,
        blame: bool = True,
        dead: bool = False,
    ) -> bytes:
        fields = self._named()
        if reason is not None:
            fields["reason"] = reason
        if delay_ms is not None:
            fields["delay_ms"] = delay_ms
        if not blame:
            fields["blame"] = False
        if dead:
            fields["dead"] = True
        return _encode(fields)


def cut(text: str) -> str:
    """Cut a text to what the wire takes, never within a character."""
    whole = text.encode(errors="replace")
    return whole[:MAX_TEXT_BYTES].decode(errors="ignore")
