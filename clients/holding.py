"""What a client holds: its claims, their leases, and how each of them ends.

Owns: the mails that are not settled, by delivery, and the acks, nacks and extends that are under
way for them. Knows nothing of who reads them, or in which order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from broker.wire.errors import ErrorBody
from broker.wire.frames import Answer
from broker.wire.mail import Ack, Delivery, Extend, Extended, Nack
from clients.errors import BY_CODE, PostroomError
from clients.leases import Leases
from clients.mail import HELD, SETTLED, SETTLING, Mail
from clients.requests import Requests

log = logging.getLogger("postroom.client")

STALE: Final = BY_CODE["stale_claim"]
DECODERS: Final = {
    str(struct.__struct_config__.tag): msgspec.json.Decoder(struct.Answer).decode
    for struct in (Ack, Nack, Extend)
}
HEAD_BYTES: Final = 100
"""More than the operation's name and the id of a request take."""


class Holding:
    """The claims of one client, and the desk of every mail."""

    def __init__(
        self, requests: Requests, leases: Leases, lost: Callable[[Mail[Any]], None]
    ) -> None:
        self._requests = requests
        self._leases = leases
        self._lost = lost
        self._mails: dict[str, Mail[Any]] = {}
        self._settling = 0
        self._settled: asyncio.Future[None] | None = None
        self.frame_limit: int | None = None
        self.over = False
        """Whether there is nobody to tell anything any more."""

    def __len__(self) -> int:
        """How many mails are not settled."""
        return len(self._mails)

    def in_hand(self) -> Iterable[Mail[Any]]:
        """Those that nothing is decided about yet."""
        return [mail for mail in self._mails.values() if mail.state == HELD]

    def take(self, delivery: Delivery, lease_ms: int | None = None) -> Mail[Any] | None:
        """Hold a delivery; None if its claim is held already, and this is the same once more."""
        known = self._mails.get(delivery.delivery)
        if known is not None:
            if known.claim == delivery.claim:
                return None
            self._lose(known)
        mail: Mail[Any] = Mail(self, delivery, lease_ms)
        self._mails[delivery.delivery] = mail
        self._leases.hold(mail, delivery.lease_ms)
        return mail

    async def settled(self) -> None:
        """Wait until everything that was acked or given back is answered."""
        while self._settling and not self.over:
            if self._settled is None:
                self._settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._settled)

    def finish(self) -> None:
        """There will be no other connection: nothing can be kept or told."""
        self.over = True
        self._look_settled()

    # -- the desk of every mail -------------------------------------------------------------------

    async def settle(self, mail: Mail[Any], op: str, fields: bytes) -> Any:
        """End a claim, and wait for the answer. Who stops waiting does not take it back."""
        self._begin(mail, fields)
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def told(answer: Answer | PostroomError) -> None:
            fault = answer if isinstance(answer, PostroomError) else None
            self._end(mail, fault)
            if waiter.done():
                return
            if isinstance(answer, PostroomError):
                waiter.set_exception(answer)
            else:
                waiter.set_result(answer)

        self._requests.tell(op, fields, DECODERS[op], told, repeat=True)
        return await waiter

    def settle_quietly(self, mail: Mail[Any], op: str, fields: bytes) -> None:
        """End a claim; nobody waits."""
        if mail.state != HELD or self.over:
            return
        self._begin(mail, fields)

        def told(answer: Answer | PostroomError) -> None:
            fault = answer if isinstance(answer, PostroomError) else None
            if fault is not None:
                log.info("%s of %r: %s", op, mail, fault)
            self._end(mail, fault)

        self._requests.tell(op, fields, undecoded, told, repeat=True)

    async def prolong(self, mail: Mail[Any], fields: bytes) -> Extended:
        """Extend a lease, and wait for the answer."""
        waiter = self._requests.ask("mail.extend", fields, DECODERS["mail.extend"])
        try:
            extended = await waiter
        except STALE:
            self._lose(mail)
            raise
        assert isinstance(extended, Extended)
        return extended

    def renew(self, mail: Mail[Any], fields: bytes) -> None:
        """Extend a lease; nobody waits."""

        def told(answer: Answer | PostroomError) -> None:
            if isinstance(answer, Extended):
                if mail.wanted:
                    self._leases.hold(mail, answer.lease_ms)
            elif isinstance(answer, STALE):
                self._lose(mail)
            elif mail.wanted and not self.over:
                self._leases.hold(mail, mail.delivered.lease_ms)

        if not self.over:
            self._requests.tell("mail.extend", fields, DECODERS["mail.extend"], told)

    def check_size(self, fields: bytes) -> None:
        """Refuse here what the broker would close the connection for."""
        if self.frame_limit is not None and len(fields) + HEAD_BYTES > self.frame_limit:
            text = f"{len(fields):,} bytes, over the {self.frame_limit:,} that the broker takes"
            raise BY_CODE["too_large"](ErrorBody("too_large", text, False))

    # -- inside -----------------------------------------------------------------------------------

    def _begin(self, mail: Mail[Any], fields: bytes) -> None:
        if mail.state != HELD:
            raise RuntimeError(f"{mail!r} was acked or given back before")
        self.check_size(fields)
        mail.state = SETTLING
        self._settling += 1

    def _end(self, mail: Mail[Any], fault: PostroomError | None) -> None:
        self._settling -= 1
        if fault is None:
            mail.state = SETTLED
            self._forget(mail)
        elif isinstance(fault, STALE):
            self._lose(mail)
        else:
            mail.state = HELD
        if not self._settling:
            self._look_settled()

    def _look_settled(self) -> None:
        if self._settled is not None:
            self._settled.set_result(None)
            self._settled = None

    def _lose(self, mail: Mail[Any]) -> None:
        mail.lost = True
        self._lost(mail)
        self._forget(mail)

    def _forget(self, mail: Mail[Any]) -> None:
        if self._mails.get(mail.delivery) is mail:
            del self._mails[mail.delivery]
            self._leases.let_go()


def undecoded(ok: Raw) -> Any:
    """Decode nothing: nobody looks at it."""
    return ok
