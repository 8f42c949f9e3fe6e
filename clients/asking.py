"""Asking: a mail that wants an answer, and what is known of it until the answer is there.

Owns: one question from its sending to its answer, and the steps in between. Which mail is the
answer is found by `clients.questions`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from broker.wire.mail import Cancelled, Sent
from clients.errors import AskTimedOut, NotDraining, PostroomError, Undelivered
from clients.intake import Intake
from clients.mail import Mail, Read
from clients.questions import Receipt

T = TypeVar("T")

LOOK_SECONDS: Final = 2.0
"""How often a queued question is looked at: nobody tells its sender that the queue moves."""
ACKED: Final = "acked"


@dataclass(frozen=True, slots=True)
class Queued:
    """Nobody has the question yet; so many mails would be handed over before it."""

    behind: int


@dataclass(frozen=True, slots=True)
class Working:
    """Somebody has the question, and may say how far it is."""

    note: str | None = None


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """The answer is there."""

    mail: Mail[T]

    @property
    def body(self) -> T:
        """What it says."""
        return self.mail.body


Step = Queued | Working | Answered[T]


class Poster(Protocol):
    """What a question needs of the client."""

    async def call(self, request: str, /, **fields: Any) -> Any:
        """Do one operation."""


class Question(Generic[T]):
    """One question. Iterating over it gives what happens to it, and ends with the answer."""

    def __init__(
        self,
        poster: Poster,
        intake: Intake,
        to: str | Iterable[str],
        body: Any,
        fields: dict[str, Any],
        read: Read,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._poster = poster
        self._intake = intake
        self._read = read
        self._look_seconds = look_seconds
        for name in ("timeout", "repeat"):
            if name in fields:
                raise TypeError(f"a question takes no {name}: it is repeated until it ends")
        self._fields = {"to": to, "body": body, "receipt": True, **fields}
        self._fields.setdefault("key", f"ask-{secrets.token_hex(12)}")
        self._steps: deque[Step[T]] = deque()
        self._last: Step[T] | None = None
        self._alive = 0
        self._fault: PostroomError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._open = False
        self.message: str | None = None
        """The id of the question's message, once it is sent."""

    # -- for the application ----------------------------------------------------------------------

    def __aiter__(self) -> Question[T]:
        """Follow the question until it is answered."""
        return self

    async def __anext__(self) -> Step[T]:
        """Send the question if it is not sent, and wait for what happens next."""
        if isinstance(self._last, Answered):
            raise StopAsyncIteration
        try:
            await self.send()
            while not self._steps:
                if self._fault is not None:
                    raise self._fault
                await self._wait(looking=isinstance(self._last, Queued))
        except BaseException:
            self.close()
            raise
        self._last = self._steps.popleft()
        return self._last

    async def answer(self) -> Mail[T]:
        """Wait for the answer; the steps before it are passed over."""
        try:
            await self.send()
            while True:
                while self._steps:
                    self._last = self._steps.popleft()
                    if isinstance(self._last, Answered):
                        return self._last.mail
                if self._fault is not None:
                    raise self._fault
                await self._wait(looking=False)
        except BaseException:
            self.close()
            raise

    async def cancel(self) -> Cancelled:
        """Call the question back, where nobody holds it yet. A late answer is ordinary mail."""
        self._fault = self._fault or Undelivered("the question was called back", "cancelled")
        self.close()
        self._wake()
        if self.message is None:
            # It may have left without our hearing of it: the same key finds it, or stops it here.
            self.message = (await self._post()).message
        cancelled: Cancelled = await self._poster.call("mail.cancel", message=self.message)
        return cancelled

    def close(self) -> None:
        """Wait no more. The question stands; a late answer is ordinary mail."""
        if self._open:
            self._open = False
            self._intake.hand_out(self._intake.questions.closed(self, self.message))
            self._intake.make_room()

    async def send(self) -> None:
        """Send the question, once."""
        if self.message is not None or self._fault is not None:
            return
        if not self._intake.takes_mail:
            raise NotDraining("an observer, or a presence of capacity 0, gets no answers")
        self._open = True
        self._intake.questions.opened(self)
        self._intake.make_room()
        sent = await self._post()
        self.message = sent.message
        if not self._open:  # nobody waits any more
            return
        self._alive = sent.total
        self._intake.hand_out(self._intake.questions.sent(self, sent.message))
        if not sent.total:
            self.fail(Undelivered(f"nobody is there to answer {sent.message}", "nobody"))
        self._standing(sent)

    # -- what comes in ----------------------------------------------------------------------------

    def answered(self, mail: Mail[Any]) -> None:
        """The answer is there."""
        mail.read = self._read
        self._step(Answered(mail))
        self.close()

    def working(self, note: str) -> None:
        """Whoever holds it says how far it is."""
        self._step(Working(note))

    def ended(self, receipt: Receipt) -> None:
        """A copy of the question has ended. One that was acked may still be answered."""
        if receipt.state == ACKED:
            return
        self._alive -= 1
        if self._alive <= 0:
            text = f"{receipt.message} ended unanswered: {receipt.state}"
            if receipt.reason:
                text += f" ({receipt.reason})"
            self.fail(Undelivered(text, receipt.state, receipt.reason))

    def fail(self, fault: PostroomError) -> None:
        """No answer can come."""
        self._fault = fault
        self.close()
        self._wake()

    # -- inside -----------------------------------------------------------------------------------

    async def _post(self) -> Sent:
        sent: Sent = await self._poster.call("mail.send", repeat=True, **self._fields)
        return sent

    def _standing(self, sent: Sent) -> None:
        """Tell where the question stands, if that is another place than before."""
        if not self._open or not sent.deliveries:
            return
        behind = [copy.depth for copy in sent.deliveries if copy.queued]
        if len(behind) < len(sent.deliveries):
            if not isinstance(self._last, Working):
                self._step(Working())
        elif self._last != Queued(min(behind)):
            self._step(Queued(min(behind)))

    def _step(self, step: Step[T]) -> None:
        self._steps.append(step)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, *, looking: bool) -> None:
        """Wait for something to happen; while it is queued, ask now and then how it stands."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._look_seconds if looking else None):
                await self._waiter
        except TimeoutError:
            self._standing(await self._post())
        finally:
            self._waiter = None


async def in_time(question: Question[T], timeout: float | None) -> Mail[T]:  # noqa: ASYNC109 - see `Caller.call`
    """Wait for the answer so long."""
    try:
        async with asyncio.timeout(timeout):
            return await question.answer()
    except TimeoutError:
        raise AskTimedOut(question) from None
