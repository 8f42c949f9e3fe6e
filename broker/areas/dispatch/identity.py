"""What makes a dispatch this one and no other: its key, and its id on the wire.

Owns: how the key is computed from the four fields, byte for byte as they came: nothing is trimmed,
folded or normalised. Must not know of tables or of who asks.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

WRITTEN: Final = re.compile(r"w([1-9][0-9]{0,17})")
KEY: Final = re.compile(r"[0-9a-f]{64}")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

SEPARATOR: Final = "\0"
"""Stands between the fields of a key and in none of them, so that no two identities share one."""


def hash_of(prompt: bytes) -> str:
    """The SHA-256 of a prompt's UTF-8 bytes, in lower-case hex."""
    return sha256(prompt).hexdigest()


def key_of(agent_type: str, dag_task_id: str, prompt_sha256: str, parent_session_id: str) -> str:
    """The key of an identity, in lower-case hex."""
    fields = (agent_type, dag_task_id, prompt_sha256, parent_session_id)
    return sha256(SEPARATOR.join(fields).encode()).hexdigest()


def written(number: int) -> str:
    """A dispatch's id as clients see it."""
    return f"w{number}"


def number_of(id: str) -> int | None:
    """The number behind a dispatch's id; None for what was never one."""
    found = WRITTEN.fullmatch(id)
    return int(found[1]) if found else None
