"""Why a frame is no request: the slow half of the codec, which names the field at fault.

Owns: the bounds of nesting, and the words in which a frame is refused. Knows nothing of messages
and connections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, inspect

from broker.wire.errors import ErrorBody
from broker.wire.fields import BODIES, PATTERNS
from broker.wire.frames import Request, RequestId
from broker.wire.operations import OPERATIONS
from broker.wire.scan import NotProtocol, elements, members, mended, nesting

MAX_DEPTH: Final = 64
MAX_BODY_DEPTH: Final = 512

# Ten times what an ack may put out: a frame of more parts is not taken apart any further.
MAX_PARTS: Final = 1_000

# A client may write anything into a name; what is said about it stays short.
MAX_MESSAGE: Final = 300
MAX_OP: Final = 64

_HALF: Final = "holds half a surrogate pair"
_OUTPUT: Final = re.compile(r"`outputs\[(\d+)\]")
_PLACE: Final = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_NOT_ALLOWED: Final = "Invalid enum value "
_STEP: Final = re.compile(r"\w+|\[\w*\.*\]")

_raw: Final = msgspec.json.Decoder(Raw).decode
_text: Final = msgspec.json.Decoder(str).decode
_id: Final[Callable[[bytes], int | str]] = msgspec.json.Decoder(RequestId).decode


@cache
def _decoder(op: str) -> msgspec.json.Decoder[Request]:
    """Made when a bad frame comes: whoever imports this has seldom seen one."""
    return msgspec.json.Decoder(OPERATIONS[op])


class _Head(Struct):
    """What tells a frame from another, as it stands."""

    op: Raw = Raw()
    id: Raw = Raw()


_head: Final = msgspec.json.Decoder(_Head).decode


class Bad(Struct, kw_only=True, gc=False):
    """A frame that is no request. Without a usable id its error leaves as an event."""

    id: int | str | UnsetType = UNSET
    op: str | None = None
    error: ErrorBody


def explain(frame: bytes, around: int) -> Request | Bad:
    """Take one frame apart, `around` levels deep in its message (itself counted)."""
    room = MAX_DEPTH - around + 1
    if not frame.startswith(b"{"):
        for _ in _faults("", frame, room):
            pass  # the text is only looked through for what would end the connection
        return _bad("bad_frame", "a frame is an object")
    if _is_plain(frame) and nesting(frame) <= room:
        head = _head(frame)
        given = {name: bytes(raw) for name, raw in msgspec.structs.asdict(head).items() if raw}
        result = _request(frame, given, [])
        if isinstance(result, Bad):
            return result
    return _request(frame, *_apart(frame, room - 1))


def _is_plain(frame: bytes) -> bool:
    """Tell if a frame is JSON without half surrogate pairs and without too deep a nesting."""
    text = mended(frame)
    try:
        _raw(text)
    except msgspec.DecodeError as error:
        raise NotProtocol(f"not JSON: {error}") from None
    except RecursionError:
        return False
    return text == frame


def _apart(frame: bytes, room: int) -> tuple[dict[str, bytes], list[str]]:
    """Take a frame apart into its fields, looking at each; also give what is wrong with them."""
    given: dict[str, bytes] = {}
    faults: list[str] = []
    for index, (key, value) in enumerate(members(frame)):
        if index == MAX_PARTS:
            faults.append(f"a frame has at most {MAX_PARTS} fields")
            break
        name = _string(key)
        if name is None:
            faults.append(f"a field's name {_HALF}")
            name = ""
        faults += _faults(name, value, room)
        given[name] = value
    return given, faults


def _request(frame: bytes, given: dict[str, bytes], faults: list[str]) -> Request | Bad:
    """Decode a frame, or tell which field is at fault."""
    if not given.get("op", b"").startswith(b'"'):
        return _bad("bad_frame", "a frame has a field `op`, which is a string")
    op = _string(given["op"])
    identity = _usable(given["id"]) if "id" in given else UNSET
    if op not in OPERATIONS:
        op = op if op is not None and len(op) <= MAX_OP else None
        return _bad("unknown_op", "there is no such operation", identity, op)
    if identity is None:
        text = "`id` must be an integer within 2^53 or a string of at most 64 characters"
        return _bad("bad_request", text, UNSET, op)
    if faults:
        return _bad("bad_request", faults[0], identity, op)
    try:
        request = _decoder(op).decode(frame)
    except (msgspec.DecodeError, RecursionError) as error:
        return _bad("bad_request", _worded(str(error), op), identity, op)
    return request


def _faults(name: str, value: bytes, room: int, place: str = "") -> Iterator[str]:
    """Tell what is wrong with a value as JSON; raise if the whole message is at fault.

    `room` is how deep a value may be nested here that is no body, `place` what holds the field.
    """
    if name == "outputs" and not place and value.startswith(b"["):
        for index, output in enumerate(elements(value)):
            if index == MAX_PARTS:
                yield f"`outputs` has more than {MAX_PARTS} entries"
                break
            yield from _output_faults(f"outputs[{index}]", output, room - 1)
        return
    if name in BODIES:
        if nesting(value) > MAX_BODY_DEPTH:
            yield f"`{place}{name}` is nested deeper than {MAX_BODY_DEPTH}"
            return
    elif nesting(value) > room:
        raise NotProtocol(f"nested deeper than {MAX_DEPTH} outside a body")
    if not _whole(_raw, value):
        yield f"`{place}{name}` {_HALF}"
    if name == "meta" and not value.startswith((b"{", b"null")):
        yield f"`{place}{name}` must be an object"


def _output_faults(place: str, output: bytes, room: int) -> Iterator[str]:
    """Tell the same of one output of an ack, which has a body of its own."""
    if not output.startswith(b"{"):
        yield from _faults(place, output, room)
        return
    for index, (key, value) in enumerate(members(output)):
        if index == MAX_PARTS:
            yield f"`{place}` has more than {MAX_PARTS} fields"
            break
        name = _string(key)
        if name is None:
            yield f"`{place}`: a field's name {_HALF}"
        yield from _faults(name or "", value, room - 1, f"{place}.")


def _whole(decode: Callable[[bytes], object], value: bytes) -> bool:
    """Tell if a value is JSON, or would be but for half surrogate pairs; else raise."""
    try:
        decode(value)
    except msgspec.DecodeError:
        try:
            decode(mended(value))
        except msgspec.DecodeError as error:
            raise NotProtocol(f"not JSON: {error}") from None
        return False
    return True


def _string(value: bytes) -> str | None:
    return _text(value) if _whole(_text, value) else None


def _usable(value: bytes) -> int | str | None:
    try:
        return _id(value)
    except msgspec.DecodeError:
        return None


def _bad(
    code: str, message: str, identity: int | str | UnsetType | None = UNSET, op: str | None = None
) -> Bad:
    output = _OUTPUT.search(message)
    detail = {"output": int(output[1])} if output else None
    error = ErrorBody(code, message[:MAX_MESSAGE], retryable=False, detail=detail)
    return Bad(id=UNSET if identity is None else identity, op=op, error=error)


def _worded(text: str, op: str) -> str:
    """Put the place that msgspec names, if it names one, before what it says of it."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return text
    said, place = found.groups()
    if said.startswith(_NOT_ALLOWED):
        words = ", ".join(_words(inspect.type_info(OPERATIONS[op]), _STEP.findall(place)))
        said = f"{said.removeprefix(_NOT_ALLOWED)} is not one of {words}"
    for pattern, (_, rule) in PATTERNS.items():
        said = said.replace(f"`str` matching regex {pattern!r}", rule)
    return f"`{place}`: {said}"


def _words(kind: inspect.Type, steps: list[str]) -> Iterator[str]:
    """The words that may stand in a place of a request, some steps below this type."""
    if isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _words(each, steps)
    elif isinstance(kind, inspect.LiteralType) and not steps:
        yield from map(str, kind.values)
    elif isinstance(kind, inspect.ListType) and steps:
        yield from _words(kind.item_type, steps[1:])
    elif isinstance(kind, inspect.StructType) and steps:
        for field in kind.fields:
            if field.encode_name == steps[0]:
                yield from _words(field.type, steps[1:])
