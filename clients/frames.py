"""What comes from the broker, taken apart: one struct for every kind of frame.

Owns: the decoding of incoming messages. Replies and deliveries take one call of msgspec; everything
rarer is decoded a second time as what it is. Knows nothing of requests or mailboxes.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Raw, Struct

from broker.wire.errors import ErrorBody
from broker.wire.fields import NULL
from broker.wire.frames import Event
from broker.wire.mail import Deliver, Delivery
from broker.wire.operations import ANY_EVENT
from broker.wire.scan import NotProtocol, elements, members

log = logging.getLogger("postroom.client")

DELIVER: Final = str(Deliver.__struct_config__.tag)
_EMPTY: Final[dict[Any, Any]] = {str: "", int: 0, bool: False, Raw: NULL}


class Head(Delivery, kw_only=True, gc=False):
    """What tells a frame from another."""

    re: int | str | None = None
    ok: Raw = NULL
    error: ErrorBody | None = None
    ev: str = ""


def _neutral(field: msgspec.structs.FieldInfo) -> tuple[str, Any, Any]:
    kind = field.type
    default = field.default if field.default is not NODEFAULT else _EMPTY.get(kind)
    return field.name, kind, default


# A reply has none of a delivery's fields, so here each of them has a default.
Incoming: Final[Any] = msgspec.defstruct(
    "Incoming",
    [_neutral(field) for field in msgspec.structs.fields(Head)],
    bases=(Head,),
    kw_only=True,
    gc=False,
    rename={"from_": "from"},
)

_many: Final = msgspec.json.Decoder(list[Incoming]).decode
_one: Final = msgspec.json.Decoder(Incoming).decode
_split: Final = msgspec.json.Decoder(list[Raw]).decode
_event: Final = msgspec.json.Decoder(ANY_EVENT).decode


def incoming(data: bytes) -> list[Head]:
    """Take a message apart, a head for each frame; one that can't be read is logged and empty."""
    try:
        return _many(data) if data[:1] == b"[" else [_one(data)]
    except (msgspec.DecodeError, RecursionError):
        return [_carefully(frame) for frame in frames_of(data)]


def frames_of(data: bytes) -> list[bytes]:
    """Give the frames of a message, each as it stands."""
    if data[:1] != b"[":
        return [data]
    try:
        return [bytes(frame) for frame in _split(data)]
    except (msgspec.DecodeError, RecursionError):
        try:
            return list(elements(data))
        except NotProtocol as fault:
            log.warning("a message can't be read: %s", fault)
            return []


def _carefully(frame: bytes) -> Head:
    head: Head
    try:
        head = _one(frame)
    except msgspec.DecodeError as fault:
        log.warning("a frame can't be read: %s", fault)
        head = Incoming()
    except RecursionError:
        # The body is nested deeper than this thread's stack has room for. It stays raw anyway.
        plain, body = _without_body(frame)
        head = _one(plain)
        head.body = Raw(body)
    return head


def _without_body(frame: bytes) -> tuple[bytes, bytes]:
    body = b"null"
    rest = []
    for key, value in members(frame):
        if key == b'"body"':
            body = value
        else:
            rest.append(key + b":" + value)
    return b"{" + b",".join(rest) + b"}", body


def event_of(frame: bytes) -> Event | None:
    """Decode an event that is no delivery; None if this version does not know it."""
    try:
        event: Struct = _event(frame)
    except msgspec.DecodeError as fault:
        log.debug("an event can't be read: %s", fault)
        return None
    return event if isinstance(event, Event) else None
