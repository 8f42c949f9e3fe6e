"""Durations as people write them: `200ms`, `5s`, `2m`, `1h`, `7d`.

Owns: the units. Knows nothing of what a duration is for.
"""

from __future__ import annotations

import re
from typing import Final

UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
WRITTEN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")


def milliseconds(text: str, plain: str = "ms") -> int:
    """The milliseconds of a duration; a number without a unit counts in `plain`."""
    found = WRITTEN.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no duration: 200ms, 5s, 2m, 1h or 7d is one")
    return round(float(found[1]) * UNITS[found[2] or plain])


def written(ms: int) -> str:
    """A duration for people, in its two largest units."""
    if ms < UNITS["s"]:
        return f"{ms}ms"
    parts = []
    rest = ms // UNITS["s"] * UNITS["s"]
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
        if parts and (not rest or len(parts) == 2):
            break
    return "".join(parts)
