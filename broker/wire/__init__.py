"""What is said on the wire: every operation's request and answer, every event, every error.

Owns: one roof over the nouns. Knows nothing of handlers, storage or sockets; clients may import it.
"""

from __future__ import annotations

from broker.wire import delegations, directory, dispatch, mail, presence
from broker.wire.codec import Bad, NotProtocol, NotUtf8, decode
from broker.wire.errors import CODES, RETRYABLE, ErrorBody, Refused
from broker.wire.frames import Answer, ErrorEvent, Event, Failure, Reply, Request, encode
from broker.wire.operations import ANY_EVENT, ANY_REQUEST, EVENTS, OPERATIONS

__all__ = [
    "ANY_EVENT",
    "ANY_REQUEST",
    "CODES",
    "EVENTS",
    "OPERATIONS",
    "RETRYABLE",
    "Answer",
    "Bad",
    "ErrorBody",
    "ErrorEvent",
    "Event",
    "Failure",
    "NotProtocol",
    "NotUtf8",
    "Refused",
    "Reply",
    "Request",
    "decode",
    "delegations",
    "directory",
    "dispatch",
    "encode",
    "mail",
    "presence",
]
