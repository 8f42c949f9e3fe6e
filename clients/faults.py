"""What can go wrong between a client and its broker, apart from the refusals that have codes.

Owns: the base classes of every exception of this package. The classes of the single error codes
are made in `clients.errors`, which is also where applications import all of them from.
"""

# ruff: noqa: N818 - they are named for what happened, as the codes of the wire are

from __future__ import annotations

from typing import Any, Protocol, Self

from broker.wire.errors import ErrorBody
from broker.wire.mail import Cancelled


class PostroomError(Exception):
    """Whatever this package raises that is no programming error."""

    def again(self) -> Self:
        """Make the same once more: several tasks may get it, each with a traceback of its own."""
        copy = type(self).__new__(type(self), *self.args)
        copy.__dict__.update(self.__dict__)
        copy.__cause__ = self.__cause__
        return copy


class Refused(PostroomError):
    """The broker said no, with a stable code. Unless a subclass says otherwise nothing was done."""

    code: str = ""

    def __init__(self, error: ErrorBody, op: str | None = None) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.code = error.code
        self.message = error.message
        self.retryable = error.retryable
        self.retry_after_ms = error.retry_after_ms
        self.detail: dict[str, Any] = error.detail or {}
        self.op = op
        """The operation that was refused, where that is known."""


class Retryable(Refused):
    """Nothing was stored and the same request may be sent again; `retry_after_ms` may say when.

    `Unavailable` alone leaves open what became of it: send it again with the same key.
    """


class ConnectionLost(PostroomError):
    """The connection ended before the answer came: whether the request was done is not known."""

    def __init__(self, message: str, close_code: int = 1006) -> None:
        super().__init__(message)
        self.close_code = close_code


class Unreachable(PostroomError):
    """No conversation with a broker could be begun. Nothing was sent."""


class Replaced(PostroomError):
    """The same member and session label connected elsewhere; this connection does not come back."""


class Closed(PostroomError):
    """This client has left; nothing was sent."""


class ProtocolFault(PostroomError):
    """What the broker said can't be understood."""


class BodyUnreadable(PostroomError):
    """A body is not what the reader asked for. Its bytes are still there, as `raw`."""


class NotDraining(PostroomError):
    """An answer can't come: this presence is an observer or has capacity 0."""


class Undelivered(PostroomError):
    """A question ended without an answer: `state` and `reason` say how."""

    def __init__(self, message: str, state: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.state = state
        self.reason = reason


class Asked(Protocol):
    """A question that can be called back."""

    message: str | None

    async def cancel(self) -> Cancelled:
        """Call it back, where nobody holds it yet."""


class AskTimedOut(PostroomError, TimeoutError):
    """No answer in time. The question still stands, and `cancel` may call it back."""

    def __init__(self, question: Asked) -> None:
        super().__init__(f"no answer to {question.message or 'the question'} in time")
        self.question = question

    @property
    def message(self) -> str | None:
        """The question's message id, if its sending was answered."""
        return self.question.message

    async def cancel(self) -> Cancelled:
        """Call the question back, where nobody holds it yet."""
        return await self.question.cancel()


class EventsLost(PostroomError):
    """A reader of events was too slow, and some are gone: begin anew from a list."""
