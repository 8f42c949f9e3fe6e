"""From one WebSocket text message to its requests: the way in of everything that clients say.

Owns: what is no message at all, and the fast way through. A good message takes one call of msgspec;
only what that refuses is taken apart. Knows nothing of what a request does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec import Raw

from broker.wire.delegations import Open, Update
from broker.wire.dispatch import Consume, Create
from broker.wire.explain import MAX_BODY_DEPTH, MAX_DEPTH, Bad, explain
from broker.wire.fields import NULL
from broker.wire.frames import Request
from broker.wire.mail import Ack, Content, Send
from broker.wire.operations import ANY_REQUEST
from broker.wire.scan import NotProtocol, elements, nesting

__all__ = ["Bad", "NotProtocol", "NotUtf8", "decode"]

# The hundredth bad frame within a minute closes the connection: what comes behind it in the same
# message would be decoded for nobody.
MAX_BAD: Final = 100

# n levels take 2n bytes: what is shorter can't be deeper, and needs no look.
_SHALLOW: Final = 2 * MAX_BODY_DEPTH + 1

_WHITE: Final = b" \t\r\n"

_one: Final[Callable[[bytes], Request | Bad]] = msgspec.json.Decoder(ANY_REQUEST).decode
_many: Final[Callable[[bytes], list[Request | Bad]]] = msgspec.json.Decoder(
    list[ANY_REQUEST]
).decode
_split: Final = msgspec.json.Decoder(list[Raw]).decode


class NotUtf8(Exception):  # noqa: N818 - the peer's fault: it ends the connection
    """The message is not UTF-8."""


def decode(data: bytes) -> list[Request | Bad]:
    """Decode a message of one frame or an array of frames; a bad frame fails alone."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise NotUtf8(str(error)) from None
    try:
        if data.lstrip(_WHITE)[:1] == b"[":
            requests, around = _many(data), 2
        else:
            requests, around = [_one(data)], 1
    except (msgspec.DecodeError, RecursionError):
        return _carefully(data)
    for request in requests:
        check = _CHECKS.get(type(request))
        if check is not None and not check(request, around):
            return _carefully(data)
    return requests or _carefully(data)


def _carefully(data: bytes) -> list[Request | Bad]:
    """Decode frame by frame, so that a bad one is told apart from its good neighbours."""
    text = data.strip(_WHITE)
    if not text:
        raise NotProtocol("the message is empty")
    if text[:1] != b"[":
        return [explain(text, 1)]
    frames: Iterable[bytes]
    try:
        frames = map(bytes, _split(text))
    except (msgspec.DecodeError, RecursionError):
        frames = elements(text)
    results: list[Request | Bad] = []
    bad = 0
    for frame in frames:
        result = _alone(frame)
        results.append(result)
        bad += isinstance(result, Bad)
        if bad == MAX_BAD:
            break
    return results or [explain(b"[]", 1)]


def _alone(frame: bytes) -> Request | Bad:
    try:
        request = _one(frame)
    except (msgspec.DecodeError, RecursionError):
        return explain(frame, 2)
    check = _CHECKS.get(type(request))
    return request if check is None or check(request, 2) else explain(frame, 2)


def _body_holds(body: object) -> bool:
    if not isinstance(body, Raw) or len(body) <= _SHALLOW:
        return True
    text = bytes(body)
    return text.count(b"[") + text.count(b"{") <= MAX_BODY_DEPTH or nesting(text) <= MAX_BODY_DEPTH


def _content_holds(content: Send | Content, around: int) -> bool:
    if len(content.body) > _SHALLOW and not _body_holds(content.body):
        return False
    if content.meta is NULL:
        return True
    meta = bytes(content.meta)
    return meta == b"null" or (meta[:1] == b"{" and nesting(meta) <= MAX_DEPTH - around)


def _ack_holds(ack: Ack, around: int) -> bool:
    outputs = ack.outputs
    return not outputs or all(_content_holds(output, around + 2) for output in outputs)


# What the types can't hold, by the operations that have something of the kind.
_CHECKS: Final[dict[type, Callable[..., bool]]] = {
    Send: _content_holds,
    Ack: _ack_holds,
    Create: lambda create, _: _body_holds(create.context),
    Consume: lambda consume, _: _body_holds(consume.outcome),
    Open: lambda opened, _: _body_holds(opened.task),
    Update: lambda update, _: _body_holds(update.result),
}
