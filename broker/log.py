"""The log: a line for each event, as text on a terminal and as a JSON object everywhere else.

Owns: what a line looks like, what may never stand in one, and how often the same may be said. Knows
nothing of what happens; who logs gives a text and fields (`extra={"url": ...}`). No caller gives a
body or a token; should one slip into a text all the same, its secret is cut out here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from broker.clock import monotonic

LEVELS: Final = ("debug", "info", "warning", "error")

SECRET: Final = re.compile(r"(prm_[0-9a-z]+_)[0-9A-Za-z_-]+")
UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "more"}

SAME_LINES: Final = 20
"""Of one kind in a minute: a flood of bad peers must not fill the disk."""
WINDOW_SECONDS: Final = 60.0


class BadLevel(Exception):  # noqa: N818 - named for what is wrong
    """There is no such level."""


def set_up(stream: TextIO, level: str = "info") -> None:
    """Log to this stream from this level on, and nowhere else."""
    if level not in LEVELS:
        raise BadLevel(f"the level of the log must be {', '.join(LEVELS)}, not {level!r}")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Text() if stream.isatty() else Json())
    handler.addFilter(Damper(monotonic))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("broker").setLevel(level.upper())
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a closed stderr is no reason to stop


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was given beside the text."""
    return {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}


def instant(record: logging.LogRecord) -> str:
    """When it happened, UTC."""
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Json(logging.Formatter):
    """A JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if more := getattr(record, "more", 0):
            line["more"] = more
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return SECRET.sub(r"\1...", msgspec.json.encode(line, enc_hook=str).decode())


class Text(logging.Formatter):
    """A line for people; a traceback follows it."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [record.getMessage()]
        parts += [f"{name}={value}" for name, value in fields_of(record).items()]
        if more := getattr(record, "more", 0):
            parts.append(f"(and {more} more of the kind)")
        said = UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], " ".join(parts))
        line = f"{instant(record)} {record.levelname:<8}{record.name}: {said}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return SECRET.sub(r"\1...", line)


class Damper(logging.Filter):
    """Lets so many lines of one kind pass in a minute, and counts the others."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__()
        self._seconds = seconds
        self._kinds: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._seconds()
        kind = (record.name, record.levelno, str(record.msg))
        began, count = self._kinds.get(kind, (now, 0))
        if now - began >= WINDOW_SECONDS:
            record.more = max(count - SAME_LINES, 0)
            began, count = now, 0
        self._kinds[kind] = (began, count + 1)
        return count < SAME_LINES
