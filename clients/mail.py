"""One mail in an application's hands, until it is acked or given back.

Owns: what can be read of a delivery and done with it. Where it came from and how a lease is kept
is the intake's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct

from broker.wire.mail import Acked, Delivery, Extended, Nacked, Sent
from clients.errors import BodyUnreadable
from clients.outputs import output
from clients.pending import Pending, Verb
from clients.settling import ACK, NACK, Outputs, acking, extending, nacking

T = TypeVar("T")

HELD: Final = 0
SETTLING: Final = 1
SETTLED: Final = 2

Read = Callable[[Raw], Any]

read_any: Final[Read] = msgspec.json.Decoder().decode


def reader(type: Any) -> Read:  # noqa: A002 - the word of msgspec
    """Make what decodes bodies of a type."""
    return read_any if type is Any or type is None else msgspec.json.Decoder(type).decode


class Desk(Protocol):
    """What a mail asks of the client that holds it."""

    def settle(self, mail: Mail[Any], verb: Verb, fields: bytes) -> Coroutine[Any, Any, Any]:
        """End the claim, and wait for the answer."""

    def start_settling(self, mail: Mail[Any], verb: Verb, fields: bytes) -> Pending[Any]:
        """End the claim."""

    def settle_quietly(self, mail: Mail[Any], verb: Verb, fields: bytes) -> None:
        """End the claim; what goes wrong is logged."""

    def prolong(self, mail: Mail[Any], fields: bytes) -> Coroutine[Any, Any, Extended]:
        """Extend the lease, and wait for the answer."""

    def renew(self, mail: Mail[Any], fields: bytes) -> None:
        """Extend the lease; nobody waits."""


class Mail(Struct, Generic[T], gc=False, eq=False):
    """A delivery that this client holds a claim on."""

    desk: Desk
    """Where it is settled; not for applications."""
    delivered: Delivery
    """The delivery as the broker wrote it."""
    lease_ms: int | None = None
    """The lease that is asked for at renewals; None leaves it to the broker."""
    state: int = HELD
    lost: bool = False
    """Whether the lease has ended before the work: somebody else may be handed the mail. An ack is
    still worth trying; the broker refuses it if somebody was."""
    read: Read = read_any
    """How `body` is decoded."""
    decoded: Any = UNSET

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
        if self.decoded is UNSET:
            self.decoded = self._decoded(self.read)
        body: T = self.decoded
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

    def ack(self, outputs: Outputs = ()) -> Coroutine[Any, Any, Acked]:
        """Say that it is done, and send the outputs, all in one transaction."""
        return self.desk.settle(self, ACK, acking(self.delivered, outputs))

    def start_ack(self, outputs: Outputs = ()) -> Pending[Acked]:
        """Ack without waiting: it leaves with this turn of the loop."""
        return self.desk.start_settling(self, ACK, acking(self.delivered, outputs))

    async def reply(self, body: Any, *, outputs: Outputs = (), **fields: Any) -> Sent:
        """Ack it with an answer to its sender. Further fields are those of `mail.send`."""
        answer = {"to": self.sender, "reply_to": self.message, **fields}
        acked = await self.ack([output(answer.pop("to"), body, **answer), *outputs])
        return acked.outputs[0]

    def nack(
        self,
        reason: str | None = None,
        *,
        delay_ms: int | None = None,
        blame: bool = True,
        dead: bool = False,
    ) -> Coroutine[Any, Any, Nacked]:
        """Give it back to its queue, or bury it with `dead`."""
        fields = nacking(self.delivered, reason, delay_ms=delay_ms, blame=blame, dead=dead)
        return self.desk.settle(self, NACK, fields)

    def extend(
        self, note: str | None = None, *, lease_ms: int | None = None
    ) -> Coroutine[Any, Any, Extended]:
        """Say that it is still worked on; the sender sees the note. Plain ones go by themselves."""
        return self.desk.prolong(self, extending(self.delivered, lease_ms or self.lease_ms, note))

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
        self.desk.settle_quietly(self, ACK, acking(self.delivered))

    def give_back(self, fault: BaseException) -> None:
        """Nack it for what went wrong: buried if it can't be read, blameless if interrupted."""
        fields = nacking(
            self.delivered,
            f"{type(fault).__name__}: {fault}",
            blame=isinstance(fault, Exception),
            dead=isinstance(fault, BodyUnreadable),
        )
        self.desk.settle_quietly(self, NACK, fields)

    def release(self, reason: str) -> None:
        """Give it back without blame."""
        self.desk.settle_quietly(self, NACK, nacking(self.delivered, reason, blame=False))

    @property
    def wanted(self) -> bool:
        """Whether its lease is to be kept."""
        return self.state != SETTLED and not self.lost

    def renew(self) -> None:
        """Keep the lease."""
        self.desk.renew(self, extending(self.delivered, self.lease_ms))
