"""Which of the mails that come in are answers to what this client has asked.

Owns: the questions that wait, by the message that put them. Knows nothing of mailboxes: a mail that
is none of its business is handed back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, Protocol

import msgspec

from broker.wire.mail import Progress
from clients.errors import PostroomError
from clients.mail import Mail

BROKER: Final = "postroom"
RECEIPT: Final = "receipt"
REMEMBERED: Final = 1_024
"""Questions whose late receipts are still recognised."""


class Receipt(msgspec.Struct):
    """What a receipt's body says."""

    message: str
    delivery: str
    state: str
    reason: str | None = None


_receipt: Final = msgspec.json.Decoder(Receipt).decode


class Asked(Protocol):
    """A question that waits."""

    def answered(self, mail: Mail[Any]) -> None:
        """The answer is there."""

    def working(self, note: str) -> None:
        """Whoever holds it says how far it is."""

    def ended(self, receipt: Receipt) -> None:
        """A copy of the question has ended."""

    def fail(self, fault: PostroomError) -> None:
        """No answer can come."""


class Questions:
    """All questions of one client."""

    def __init__(self) -> None:
        self._waiting: dict[str, Asked] = {}
        self._over: OrderedDict[str, None] = OrderedDict()
        self._unsent: set[Asked] = set()
        self._early: list[Mail[Any]] = []
        self.open = 0
        """How many wait for an answer."""

    def opened(self, question: Asked) -> None:
        """A question is on its way; which message it is, is not known yet."""
        self._unsent.add(question)
        self._count()

    def sent(self, question: Asked, message: str) -> list[Mail[Any]]:
        """The question has a message id; gives what came early and is no answer to anything."""
        self._unsent.discard(question)
        self._waiting[message] = question
        self._count()
        return self._sort_early()

    def closed(self, question: Asked, message: str | None) -> list[Mail[Any]]:
        """Nobody waits any more; a late answer is mail like any other."""
        self._unsent.discard(question)
        if message is not None and self._waiting.pop(message, None) is not None:
            self._over[message] = None
            if len(self._over) > REMEMBERED:
                self._over.popitem(last=False)
        self._count()
        return self._sort_early()

    def take(self, mail: Mail[Any]) -> bool:
        """Take a mail that has to do with a question. What is taken for good is acked."""
        delivered = mail.delivered
        if delivered.kind == RECEIPT and delivered.from_ == BROKER:
            if self._receipt(mail):
                return True
        elif delivered.reply_to is not None:
            question = self._waiting.get(delivered.reply_to)
            if question is not None:
                mail.done()
                question.answered(mail)
                return True
        else:
            return False
        if self._unsent:
            self._early.append(mail)
            return True
        return False

    def progress(self, event: Progress) -> None:
        """Somebody works on a message."""
        question = self._waiting.get(event.message)
        if question is not None:
            question.working(event.note)

    def fail(self, fault: PostroomError) -> None:
        """No answer can come to any of them."""
        for question in [*self._waiting.values(), *self._unsent]:
            question.fail(fault.again())

    def forget_early(self) -> list[Mail[Any]]:
        """Give up what was put aside."""
        early, self._early = self._early, []
        return early

    def _count(self) -> None:
        self.open = len(self._waiting) + len(self._unsent)

    def _receipt(self, mail: Mail[Any]) -> bool:
        try:
            receipt = _receipt(mail.delivered.body)
        except msgspec.DecodeError:
            return False
        question = self._waiting.get(receipt.message)
        if question is None and receipt.message not in self._over:
            return False
        mail.done()
        if question is not None:
            question.ended(receipt)
        return True

    def _sort_early(self) -> list[Mail[Any]]:
        early = self.forget_early()
        return [mail for mail in early if not self.take(mail)]
