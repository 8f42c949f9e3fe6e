"""What can go wrong between a client and its broker, apart from the refusals that have codes.

Owns: the base classes of every exception of this package. The classes of the single error codes
are made in `clients.errors`, which is also where applications import all of them from.
"""

from __future__ import annotations

from typing import Any

from broker.wire.errors import ErrorBody


class PostroomError(Exception):
    """Whatever this package raises that is no programming error."""


class Refused(PostroomError):
    """The broker said no, with a stable code. Unless a subclass says otherwise nothing was done."""

    code: str = ""

    def __init__(self, error: ErrorBody, op: str | None = None) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.code = error.code
        self.message = error.message
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
    """An answer can't come, because this presence takes no mail or has no room for any."""


class Undelivered(PostroomError):
    """A question ended without an answer: `state` and `reason` say how."""

    def __init__(self, message: str, state: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.state = state
        self.reason = reason


class EventsLost(PostroomError):
    """A reader of events was too slow, and some are gone: begin anew from a list."""
