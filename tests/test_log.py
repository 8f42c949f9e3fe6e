"""What a line of the log looks like, and what never stands in one."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from broker.log import SAME_LINES, BadLevel, Damper, set_up

TOKEN = "prm_0a1b2c3d_SeCrEt-value_x"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("broker")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    raises = logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(False)
    logging.raiseExceptions = raises


log = logging.getLogger("broker.test")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object() -> None:
    set_up(stream := io.StringIO())
    log.info("ready at %s", "ws://x", extra={"data": "/d", "port": 7, "settings": {"a.b": 1}})
    (line,) = lines(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "broker.test",
        "message": "ready at ws://x",
        "data": "/d",
        "port": 7,
        "settings": {"a.b": 1},
    }


def test_a_line_on_a_terminal_is_text() -> None:
    set_up(stream := Terminal())
    log.warning("late by %d", 3, extra={"remote": "1.2.3.4:5"})
    at, rest = stream.getvalue().split(" ", 1)
    assert at.endswith("Z")
    assert rest == "WARNING broker.test: late by 3 remote=1.2.3.4:5\n"


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_what_a_peer_says_breaks_no_line(kind: type[io.StringIO]) -> None:
    set_up(stream := kind())
    log.info("hello from %s", "x\n2030-01-01 forged\x1b[2J", extra={"remote": "a\nb"})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_secret_is_cut_out_wherever_it_stands(kind: type[io.StringIO]) -> None:
    set_up(stream := kind())
    log.info("text %s", TOKEN, extra={"field": TOKEN, "deep": {"a": [TOKEN]}})
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.exception("it failed")
    assert "SeCrEt" not in stream.getvalue()
    assert stream.getvalue().count("prm_0a1b2c3d_...") == 4


def test_a_traceback_is_kept() -> None:
    set_up(stream := io.StringIO())
    try:
        raise KeyError("lost")
    except KeyError:
        log.exception("it failed")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "KeyError: 'lost'" in line["exception"]


def test_a_field_that_json_does_not_know_is_text() -> None:
    set_up(stream := io.StringIO())
    log.info("x", extra={"thing": io.StringIO})
    assert "StringIO" in lines(stream)[0]["thing"]


@pytest.mark.parametrize(("level", "said"), [("debug", 3), ("info", 2), ("warning", 1)])
def test_the_level_is_ours_only(level: str, said: int) -> None:
    set_up(stream := io.StringIO(), level)
    log.debug("a")
    log.info("b")
    log.warning("c")
    logging.getLogger("asyncio").info("d")
    assert len(lines(stream)) == said


def test_a_level_that_does_not_exist() -> None:
    with pytest.raises(BadLevel, match="debug, info, warning, error, not 'loud'"):
        set_up(io.StringIO(), "loud")


def test_set_up_twice_says_it_once() -> None:
    set_up(io.StringIO())
    set_up(stream := io.StringIO())
    log.info("x")
    assert len(lines(stream)) == 1


def test_a_flood_is_counted_not_written() -> None:
    now = [0.0]
    damper = Damper(lambda: now[0])

    def passes(text: str) -> logging.LogRecord | None:
        record = logging.makeLogRecord({"name": "n", "levelno": 20, "msg": text})
        return record if damper.filter(record) else None

    assert sum(passes("bad %s") is not None for _ in range(SAME_LINES + 30)) == SAME_LINES
    assert passes("other") is not None
    now[0] = 59.9
    assert passes("bad %s") is None
    now[0] = 60.0
    record = passes("bad %s")
    assert record is not None
    assert vars(record)["more"] == 31
    record = passes("bad %s")
    assert record is not None
    assert "more" not in vars(record)


def test_the_count_of_what_was_left_out_is_shown() -> None:
    for kind, expected in ((io.StringIO, '"more":31'), (Terminal, "(and 31 more of the kind)")):
        set_up(stream := kind())
        log.info("again", extra={"more": 31})
        assert expected in stream.getvalue()
