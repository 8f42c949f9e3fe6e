"""The bounds of the protocol as types: names, durations, limits of lists.

Owns: every bound that a type can hold. A bound that depends on a setting is checked by the area.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, UnsetType

NAME: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
MAX_GROUP_SEGMENTS: Final = 8
DAY_MS: Final = 86_400_000
MAX_LEASE_MS: Final = 3_600_000
MAX_AHEAD_MS: Final = 30 * DAY_MS
MAX_TARGETS: Final = 1_000
MAX_OUTPUTS: Final = 100
MAX_TEXT_BYTES: Final = 4_096
MAX_META_BYTES: Final = 4_096

Role = Literal["control-plane", "session", "service"]
Status = Literal["idle", "working", "dnd"]
Access = Literal["owner", "admin", "member"]

BODIES: Final = frozenset({"body", "task", "context", "outcome", "result"})
"""Fields that hold any JSON of the application's, kept byte for byte."""
NULL: Final = Raw(b"null")
"""A body or `meta` that is not there, where the wire shows null for it."""

IS_NAME: Final = rf"\A{NAME}\Z"
IS_GROUP: Final = rf"\A(#{NAME}|@{NAME}(/{NAME}){{0,{MAX_GROUP_SEGMENTS - 1}}})\Z"
IS_IDENTITY: Final = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
PATTERNS: Final = {
    IS_NAME: ("name", "a name: 1 to 64 of a-z 0-9 . _ - that begin with a-z or 0-9"),
    IS_GROUP: (
        "`@group` or `#topic`",
        f"@group, @group/part/... of at most {MAX_GROUP_SEGMENTS} names, or #topic",
    ),
    IS_IDENTITY: ("string without control characters", "a string without control characters"),
}
"""Each pattern in a word for a table, and in those of an error."""

Name = Annotated[str, Meta(pattern=IS_NAME)]
GroupName = Annotated[str, Meta(pattern=IS_GROUP)]
Label = Annotated[str, Meta(max_length=64)]
Key = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_BYTES)]
Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Address = Annotated[str, Meta(min_length=1, max_length=129)]
Identity = Annotated[str, Meta(min_length=1, max_length=128, pattern=IS_IDENTITY)]
Cursor = Annotated[str, Meta(max_length=640)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Bulk = Annotated[int, Meta(ge=1, le=1_000)]
LeaseMs = Annotated[int, Meta(ge=1, le=MAX_LEASE_MS)]
AheadMs = Annotated[int, Meta(ge=0, le=MAX_AHEAD_MS)]
LifeMs = Annotated[int, Meta(ge=1, le=MAX_AHEAD_MS)]
Attempts = Annotated[int, Meta(ge=1, le=100)]
PriorityName = Literal["critical", "task", "info"]
Priority = PriorityName | Annotated[int, Meta(ge=0, le=255)]
Capacity = Annotated[int, Meta(ge=0, le=10_000)]


def check_texts(**texts: str | UnsetType | None) -> None:
    """Refuse a text over 4 KiB, naming its field. A type can only count characters, not bytes."""
    for field, text in texts.items():
        if isinstance(text, str) and not text.isascii() and len(text.encode()) > MAX_TEXT_BYTES:
            raise ValueError(f"`{field}` is longer than {MAX_TEXT_BYTES} bytes")
