"""The three kinds of frame: request, reply, event. Every operation's structs build on these.

Owns: the base classes and the encoder. Knows nothing of handlers, sockets or storage.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from broker.wire.errors import ErrorBody

RequestId = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=64)]


class Answer(Struct, kw_only=True, gc=False):
    """The `ok` of a reply."""


class Request(Struct, tag_field="op", forbid_unknown_fields=True, kw_only=True, gc=False):
    """A frame from client to broker. Subclasses set `tag=` to the operation's name."""

    Answer: ClassVar[type[Answer]] = Answer

    id: RequestId | UnsetType = UNSET


class Event(Struct, tag_field="ev", kw_only=True, gc=False):
    """A frame from broker to client that answers no request."""


class Reply(Struct, gc=False):
    """A request that was done."""

    re: int | str
    ok: Any


class Failure(Struct, gc=False):
    """A request that was refused."""

    re: int | str
    error: ErrorBody


class ErrorEvent(Event, tag="error", omit_defaults=True):
    """A refusal of a frame that carried no usable id."""

    error: ErrorBody
    op: str | None = None


encode = msgspec.json.Encoder().encode
