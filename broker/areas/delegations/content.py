"""Tasks, results and errors as text: cut for previews, hashed to be compared, told in mails.

Owns: cuts that leave whole characters, what counts as the same content, and the bodies of mails of
kind `delegation.*`. Never looks inside a task or a result, and never writes one anew.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Raw

from broker.wire.delegations import DelegationStatus
from broker.wire.fields import NULL

PREVIEW_BYTES: Final = 4_096
MARGIN_BYTES: Final = 4_096
"""How much longer than `limits.body` a mail of the broker may be."""


class _Task(msgspec.Struct, gc=False):
    delegation: str
    task: Raw


class _Result(msgspec.Struct, gc=False):
    delegation: str
    status: DelegationStatus
    result: Raw
    error: str | None
    reason: str | None
    late: bool


def cut(text: bytes, most: int = PREVIEW_BYTES) -> str:
    """The first so many bytes of UTF-8, without the character that the cut would go through."""
    # What comes in is valid, so only the end of a cut can be half a character.
    return text[:most].decode(errors="ignore")


def opened_hash(callee: str, deadline_ms: int, send: bool, task: bytes) -> bytes:
    """What makes the same id or key the same delegation: all but the id and the key."""
    told = msgspec.json.encode((callee, deadline_ms, send))
    return sha256(b"%d:%b" % (len(told), told) + task).digest()


def said_hash(result: bytes | None, error: str | None) -> bytes | None:
    """What makes the same status the same report; None when nothing came with it."""
    if result is None and error is None:
        return None
    told = msgspec.json.encode(error)
    given = b"-" if result is None else b"+" + result
    return sha256(b"%d:%b" % (len(told), told) + given).digest()


def task_body(delegation: str, task: bytes) -> bytes:
    """The mail to the callee."""
    return msgspec.json.encode(_Task(delegation, Raw(task)))


def result_body(
    delegation: str,
    status: DelegationStatus,
    result: bytes | None,
    error: str | None,
    reason: str | None,
    *,
    late: bool,
    limit: int,
) -> bytes:
    """The mail to the caller. The error is cut when a mail of this size could not hold it all."""
    told = _Result(delegation, status, NULL if result is None else Raw(result), error, reason, late)
    body = msgspec.json.encode(told)
    if error is None or len(body) <= limit + MARGIN_BYTES:
        return body
    room = limit + MARGIN_BYTES - len(body) + len(msgspec.json.encode(error))
    told.error = _cut_to_fit(error, room)
    return msgspec.json.encode(told)


def _cut_to_fit(text: str, room: int) -> str:
    """The longest beginning that takes at most so many bytes as JSON, escapes included."""
    fits, over = 0, len(text) + 1
    while over - fits > 1:
        middle = (fits + over) // 2
        if len(msgspec.json.encode(text[:middle])) <= room:
            fits = middle
        else:
            over = middle
    return text[:fits]
