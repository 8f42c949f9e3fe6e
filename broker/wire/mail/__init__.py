"""Mail on the wire: queues drained in two phases, claim and ack.

Owns: the names of its three parts under one roof. Knows nothing of how mail is stored.
"""

from __future__ import annotations

from broker.wire.mail.claim import (
    Ack,
    Acked,
    Claim,
    Claimed,
    Deliver,
    Delivery,
    Extend,
    Extended,
    Nack,
    Nacked,
    Progress,
)
from broker.wire.mail.inspect import (
    Changed,
    Drop,
    ListDead,
    Listed,
    Listing,
    ListMail,
    Redrive,
    Step,
    Trace,
    Traced,
    TraceMessage,
)
from broker.wire.mail.send import (
    Cancel,
    Cancelled,
    Content,
    Copy,
    DeliveryState,
    Send,
    Sent,
    Targets,
    Transport,
)

__all__ = [
    "Ack",
    "Acked",
    "Cancel",
    "Cancelled",
    "Changed",
    "Claim",
    "Claimed",
    "Content",
    "Copy",
    "Deliver",
    "Delivery",
    "DeliveryState",
    "Drop",
    "Extend",
    "Extended",
    "ListDead",
    "ListMail",
    "Listed",
    "Listing",
    "Nack",
    "Nacked",
    "Progress",
    "Redrive",
    "Send",
    "Sent",
    "Step",
    "Targets",
    "Trace",
    "TraceMessage",
    "Traced",
    "Transport",
]
