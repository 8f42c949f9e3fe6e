"""How a claim is ended or kept, in bytes: the fields of acks, nacks and extends.

Owns: their encoding. Knows nothing of when they are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from broker.wire.fields import MAX_TEXT_BYTES
from broker.wire.mail import Ack, Content, Delivery, Extend, Nack
from clients.outputs import written
from clients.pending import Verb

ACK: Final = Verb(Ack)
NACK: Final = Verb(Nack)
EXTEND: Final = Verb(Extend)

Outputs = Iterable[Content | Mapping[str, Any]]

_encode: Final = msgspec.json.Encoder().encode


def acking(delivered: Delivery, outputs: Outputs = ()) -> bytes:
    """Encode an ack."""
    delivery, claim = delivered.delivery, delivered.claim
    if not outputs:
        return _encode({"delivery": delivery, "claim": claim})
    return _encode({"delivery": delivery, "claim": claim, "outputs": written(outputs)})


def nacking(
    delivered: Delivery,
    reason: str | None,
    *,
    delay_ms: int | None = None,
    blame: bool = True,
    dead: bool = False,
) -> bytes:
    """Encode a nack."""
    fields: dict[str, Any] = {"delivery": delivered.delivery, "claim": delivered.claim}
    if reason is not None:
        fields["reason"] = cut(reason)
    if delay_ms is not None:
        fields["delay_ms"] = delay_ms
    if not blame:
        fields["blame"] = False
    if dead:
        fields["dead"] = True
    return _encode(fields)


def extending(delivered: Delivery, lease_ms: int | None, note: str | None = None) -> bytes:
    """Encode an extend."""
    fields: dict[str, Any] = {"delivery": delivered.delivery, "claim": delivered.claim}
    if lease_ms is not None:
        fields["lease_ms"] = lease_ms
    if note is not None:
        fields["note"] = note
    return _encode(fields)


def cut(text: str) -> str:
    """Cut a text to what the wire takes, never within a character."""
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
