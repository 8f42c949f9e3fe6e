# ruff: noqa - made by a program
# fmt: off
"""Made by `python -m clients.stubs --write` from the wire; not edited by hand."""

from typing import Final

from broker.wire.errors import ErrorBody
from clients.faults import (
    AskTimedOut as AskTimedOut,
    BodyUnreadable as BodyUnreadable,
    Closed as Closed,
    ConnectionLost as ConnectionLost,
    EventsLost as EventsLost,
    NotDraining as NotDraining,
    PostroomError as PostroomError,
    ProtocolFault as ProtocolFault,
    Refused as Refused,
    Replaced as Replaced,
    Retryable as Retryable,
    Undelivered as Undelivered,
    Unreachable as Unreachable,
)

BY_CODE: Final[dict[str, type[Refused]]]

def class_name(code: str) -> str: ...
def refused(error: ErrorBody, op: str | None = None) -> Refused: ...

class AlreadyConsumed(Refused):
    """The dispatch has been consumed."""

class AlreadyFinished(Refused):
    """It has ended with another outcome."""

class AlreadyLeased(Refused):
    """Somebody else holds the dispatch."""

class BadFrame(Refused):
    """The JSON is no object with an `op`."""

class BadRequest(Refused):
    """A field is unknown, missing, of a wrong type or out of bounds: it is named."""

class DagTaskIdReuse(Refused):
    """The same parent, agent and task were given with another prompt."""

class DispatchFailed(Refused):
    """The dispatch has ended without being consumed; `detail.status` says how."""

class Draining(Retryable):
    """The broker is going away and takes this no more."""

class Forbidden(Refused):
    """The caller may not do this."""

class IdentityMismatch(Refused):
    """The identity fields don't give this key."""

class Internal(Refused):
    """A fault of the broker; what became of the request is in its log."""

class InvalidTransition(Refused):
    """This step does not follow from the status that stands."""

class KeyConflict(Refused):
    """The key or id is taken by other content."""

class LeaseExpired(Refused):
    """The lease was the newest one, and its time is over."""

class MailboxFull(Retryable):
    """`detail.mailbox` holds as much as it may."""

class NotFound(Refused):
    """There is no such thing here, or it is none of the caller's business."""

class Overloaded(Retryable):
    """The broker has more to do than it can."""

class PromptHashMismatch(Refused):
    """`prompt_sha256` is not the hash of the prompt."""

class RateLimited(Retryable):
    """The member sends faster than it may; `retry_after_ms` says when to go on."""

class StaleClaim(Refused):
    """The claim is not, or no longer, the one that holds the delivery."""

class StaleLease(Refused):
    """The lease token is not the newest one."""

class TooLarge(Refused):
    """More bytes, targets or outputs than are allowed."""

class Unauthorized(Refused):
    """Who is there has not been said, or not credibly."""

class Unavailable(Retryable):
    """The storage failed and the outcome is unknown: repeat with the same key or id."""

class UnknownOp(Refused):
    """There is no operation of this name."""

class UnknownRecipient(Refused):
    """An address names no member, or no open session mailbox."""
