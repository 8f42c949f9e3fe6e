"""Mail as it comes in: to a question that waits for it, or to whoever reads next.

Owns: the mails that nobody has seen yet, the readers that wait for one, and the room for more.
Decides nothing about a mail's content; what is held, and how that ends, is the holding's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import msgspec

from broker.wire.mail import Delivery
from broker.wire.presence import UpdatePresence, Welcome
from clients.errors import PostroomError
from clients.holding import Holding
from clients.identity import Identity
from clients.leases import Leases
from clients.mail import Mail
from clients.pending import Verb
from clients.questions import RECEIPT, Questions
from clients.requests import Requests, unheard

UPDATE: Final = Verb(UpdatePresence)
MOST_CAPACITY: Final = 10_000
"""What the broker takes for a capacity."""


class Intake:
    """The mail of one client."""

    def __init__(self, requests: Requests, identity: Identity, leases: Leases) -> None:
        self._requests = requests
        self._identity = identity
        self._unread: deque[Mail[Any]] = deque()
        self._waiters: deque[asyncio.Future[Mail[Any] | None]] = deque()
        self.holding = Holding(requests, leases, self._lost)
        self.questions = Questions()
        self.stopping = False
        self.fault: PostroomError | None = None

    @property
    def takes_mail(self) -> bool:
        """Whether any mail is ever handed to this client."""
        return self._identity.room > 0

    @property
    def observes(self) -> bool:
        """Whether that can never change."""
        return self._identity.observe

    # -- what the conversation tells --------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        """A delivery was pushed, or pushed again after a resume."""
        mail = self.holding.take(delivery)
        if mail is None:
            return
        questions = self.questions
        if questions.open:
            if questions.take(mail):
                return
            self._make_room()
        elif delivery.kind == RECEIPT and questions.take(mail):
            return
        elif self.stopping:
            mail.release("stopped")
            return
        self._unread.append(mail)
        if self._waiters:
            self._hand_over()

    def resumed(self, welcome: Welcome) -> None:
        """There is a connection again. Other than the leases nothing has changed if it resumed."""
        if not welcome.resumed:
            # These come again, to whoever is there; nobody has seen them yet.
            for mail in [*self._unread, *self.questions.forget_early()]:
                mail.release("connected anew")
            self._unread.clear()
        for mail in self.holding.in_hand():
            mail.renew()

    def over(self, fault: PostroomError) -> None:
        """There will be no other connection."""
        self.fault = fault
        self.holding.finish()
        self.questions.fail(fault)
        self._wake_all()

    # -- what readers ask -------------------------------------------------------------------------

    async def take(self) -> Mail[Any] | None:
        """Wait for the next mail; None if there will be none."""
        if self._unread or self.stopping or self.fault is not None:
            return self.next_unread()
        waiter: asyncio.Future[Mail[Any] | None] = self._requests.loop.create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except BaseException:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled() and (mail := waiter.result()) is not None:
                self._put_back(mail)
            raise

    def next_unread(self) -> Mail[Any] | None:
        """Take a mail if there is one."""
        if not self._unread or self.stopping or self.fault is not None:
            return None
        return self._unread.popleft()

    def stop(self) -> None:
        """Take no more mail. What nobody has seen goes back, what is in hand stays held."""
        if not self.stopping:
            self.stopping = True
            self._wake_all()
            self.make_room()

    def hand_out(self, mails: list[Mail[Any]]) -> None:
        """These turned out to be mail like any other."""
        self._unread.extend(mails)
        self._hand_over()

    # -- room -------------------------------------------------------------------------------------

    def make_room(self) -> None:
        """Work out the capacity anew, after a question was opened or closed, or at a stop."""
        if self.questions.open:
            self._make_room()
        elif self.stopping:
            unread = list(self._unread)
            self._unread.clear()
            for mail in unread:
                mail.release("stopped")
            self._say_capacity(0)
        else:
            self._say_capacity(self._identity.room)

    def _make_room(self) -> None:
        """An answer must find room, however much other mail lies here unread."""
        said = max(self._identity.capacity, self._identity.room)
        if len(self.holding) >= said:
            said = min(said * 2, MOST_CAPACITY)
        self._say_capacity(said)

    def _say_capacity(self, capacity: int) -> None:
        if self._identity.capacity == capacity or self.fault is not None:
            return
        self._identity.said["capacity"] = capacity
        fields = msgspec.json.encode({"capacity": capacity})
        self._requests.ask(UPDATE, fields).then(unheard)

    # -- inside -----------------------------------------------------------------------------------

    def _lost(self, mail: Mail[Any]) -> None:
        if mail in self._unread:
            self._unread.remove(mail)

    def _put_back(self, mail: Mail[Any]) -> None:
        """Its reader was cancelled before it could take it: the mail is the next one's."""
        self._unread.appendleft(mail)
        self._hand_over()
        if self.stopping:
            self.make_room()

    def _hand_over(self) -> None:
        """Give what is unread to those who wait, each its own: so their acks leave together."""
        while self._waiters and self._unread:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._unread.popleft())

    def _wake_all(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
