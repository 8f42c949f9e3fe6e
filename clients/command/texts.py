"""Values as people read them.

Owns: how instants, bodies, names of strangers look in a terminal. Knows no operation.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from clients.command.durations import written

NOTHING: Final = "-"
SECOND: Final = 1_000

# What others write may hold anything: nothing of it steers the terminal or turns its order around.
_UNSAFE: Final = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_UNSAFE_LINES: Final = {code: text for code, text in _UNSAFE.items() if chr(code) not in "\n\t"}


def safe(text: str) -> str:
    """A text on one line."""
    return text.translate(_UNSAFE)


def body(raw: Raw) -> str:
    """A body as text: a JSON string by itself, anything else as the JSON it is."""
    data = bytes(raw)
    if data.startswith(b'"'):
        data = msgspec.json.decode(data, type=str).encode()
    return data.decode().translate(_UNSAFE_LINES)


def instant(at: int) -> str:
    """An instant, in UTC so that two people mean the same."""
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def cell(name: str, value: Any) -> str:
    """A value on one line; its field's name says what a number is."""
    if value is None or value is UNSET:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        if name == "at" or name.endswith("_at"):
            return instant(value)
        return written(value) if name.endswith("_ms") else str(value)
    if isinstance(value, Raw):
        return safe(body(value))
    if isinstance(value, dict):
        return (
            ", ".join(f"{safe(str(key))} {cell('', one)}" for key, one in value.items()) or "none"
        )
    if isinstance(value, list):
        between = "; " if value and isinstance(value[0], Struct) else ", "
        return between.join(cell("", one) for one in value) or NOTHING
    if isinstance(value, Struct):
        given = msgspec.structs.asdict(value).items()
        return ", ".join(f"{key} {cell(key, one)}" for key, one in given if one is not None)
    return safe(str(value))
