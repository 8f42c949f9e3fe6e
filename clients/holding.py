"""What a client holds: its claims, their leases, and how each of them ends.

Owns: the mails that are not settled, by delivery, and the acks, nacks and extends that are under
way for them. Knows nothing of who reads them, or in which order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Raw

from broker.wire.mail import Delivery, Extended
from clients.errors import BY_CODE, PostroomError, Refused, Retryable
from clients.leases import Leases
from clients.mail import HELD, SETTLED, SETTLING, Mail
from clients.pending import Pending, Verb
from clients.requests import Requests, unheard
from clients.settling import EXTEND

STALE: Final = BY_CODE["stale_claim"]
AGAIN_MS: Final = 1_000
"""Until what the broker could not do is asked for again, unless it says when."""


class Settling(Pending[Any], gc=False, eq=False, kw_only=True):
    """An ack or nack under way. Whoever waits for it, the mail's state follows it."""

    holding: Holding
    mail: Mail[Any]

    @property
    def abandoned(self) -> bool:
        """It ends a claim: who waits for it no more has not taken it back."""
        return False

    def answered(self, ok: Raw) -> None:
        """The claim has ended as it was to."""
        self.holding.ended(self.mail)
        Pending.answered(self, ok)

    def failed(self, fault: PostroomError) -> None:
        """The claim stands, or is another's."""
        self.holding.failed(self.mail, fault)
        Pending.failed(self, fault)


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
            if known.delivered.claim == delivery.claim:
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
        self._mails.clear()
        self._look_settled()

    # -- the desk of every mail -------------------------------------------------------------------

    async def settle(self, mail: Mail[Any], verb: Verb, fields: bytes) -> Any:
        """End a claim, and wait for the answer. Who stops waiting does not take it back."""
        waiter: asyncio.Future[Raw] = self._requests.loop.create_future()
        self.start_settling(mail, verb, fields, waiter)
        return verb.read(await waiter)

    def start_settling(
        self,
        mail: Mail[Any],
        verb: Verb,
        fields: bytes,
        waiter: asyncio.Future[Raw] | None = None,
    ) -> Pending[Any]:
        """End a claim."""
        if mail.state != HELD:
            raise RuntimeError(f"{mail!r} was acked or given back before")
        pending = Settling(verb=verb, repeat=True, waiter=waiter, holding=self, mail=mail)
        self._requests.put(pending, fields)
        mail.state = SETTLING
        self._settling += 1
        return pending

    def settle_quietly(self, mail: Mail[Any], verb: Verb, fields: bytes) -> None:
        """End a claim; nobody waits, so what the broker can't do now is asked for again."""
        if mail.state != HELD or mail.lost or self.over:
            return

        def told(pending: Pending[Any]) -> None:
            unheard(pending)
            fault = pending.fault
            if isinstance(fault, Retryable):
                seconds = (fault.retry_after_ms or AGAIN_MS) / 1_000
                self._requests.loop.call_later(seconds, self.settle_quietly, mail, verb, fields)
            elif isinstance(fault, Refused) and not mail.lost:
                self._lose(mail)  # it goes to somebody else when its lease is over

        self.start_settling(mail, verb, fields).then(told)

    def ended(self, mail: Mail[Any]) -> None:
        """A claim has ended as it was to."""
        mail.state = SETTLED
        mails, delivery = self._mails, mail.delivered.delivery
        if mails.get(delivery) is mail:
            del mails[delivery]
            self._leases.let_go(mail)
        self._settling -= 1
        if not self._settling:
            self._look_settled()

    def failed(self, mail: Mail[Any], fault: PostroomError) -> None:
        """A claim has not ended so."""
        if isinstance(fault, STALE):
            self._lose(mail)
        else:
            mail.state = HELD
        self._settling -= 1
        if not self._settling:
            self._look_settled()

    async def prolong(self, mail: Mail[Any], fields: bytes) -> Extended:
        """Extend a lease, and wait for the answer."""
        try:
            extended: Extended = await self._requests.ask(EXTEND, fields)
        except STALE:
            self._lose(mail)
            raise
        return extended

    def renew(self, mail: Mail[Any], fields: bytes) -> None:
        """Extend a lease; nobody waits."""

        def told(pending: Pending[Any]) -> None:
            try:
                lease_ms = pending.result().lease_ms
            except STALE:
                self._lose(mail)
            except PostroomError:
                if mail.wanted and not self.over:
                    self._leases.hold(mail, mail.delivered.lease_ms)
            else:
                if mail.wanted:
                    self._leases.hold(mail, lease_ms)

        if not self.over:
            self._requests.ask(EXTEND, fields).then(told)

    # -- inside -----------------------------------------------------------------------------------

    def _look_settled(self) -> None:
        if self._settled is not None:
            self._settled.set_result(None)
            self._settled = None

    def _lose(self, mail: Mail[Any]) -> None:
        mail.lost = True
        self._lost(mail)
        if self._mails.get(mail.delivery) is mail:
            del self._mails[mail.delivery]
            self._leases.let_go(mail)
