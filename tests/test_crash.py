"""A short crash run with real processes, and the checker over histories that must not be.

A long one: `python -m tests.crash --seconds 600`. The seed of a run is printed; POSTROOM_CRASH_SEED
gives it another, which decides who dies and where, though not what the machine's clock makes of it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from crash_history import History, Line, Pen, read
from crash_run import crash

SECONDS = 9.0


@pytest.mark.timeout(180)
def test_no_death_loses_or_doubles_anything(tmp_path: Path) -> None:
    given = os.environ.get("POSTROOM_CRASH_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(10**6)
    outcome = crash(SECONDS, seed, tmp_path)
    print(outcome.told())  # noqa: T201 - the seed is what a failure needs
    assert not outcome.complaints, outcome.told()
    assert outcome.figures["sent"] > 0
    assert outcome.figures["acked"] > 0


def life(*changes: dict[str, Any]) -> list[Line]:
    """A mail that is sent, handed over and acked, with other lines in between or instead."""
    usual: list[Line] = [
        {"what": "sending", "who": "p", "key": "k"},
        {"what": "sent", "who": "p", "key": "k", "message": "m1", "first": True},
        {"what": "coming", "who": "c"},
        {"what": "here", "who": "c", "presence": "p1"},
        got(),
        {"what": "acking", "who": "c", "key": "k", "delivery": "d2", "claim": "c2"},
        {"what": "acked", "who": "c", "key": "k", "delivery": "d2", "claim": "c2"},
    ]
    lines = [*usual, *changes]
    return [{"at": place, **line} for place, line in enumerate(lines)]


def got(**changes: Any) -> Line:
    """A hand-over."""
    return {
        "what": "got",
        "who": "c",
        "key": "k",
        "presence": "p1",
        "delivery": "d2",
        "claim": "c2",
        "message": "m1",
        "mailbox": "worker",
        "priority": 50,
        "claims": 1,
        "attempt": 1,
        "began_at": 1_000,
        "ends_at": 2_000,
        **changes,
    }


def complaints(lines: list[Line], **outputs: int) -> str:
    """What the checker says."""
    ordered = sorted(lines, key=lambda line: float(line["at"]))
    return "\n".join(History(ordered).check(Counter(outputs)))


def test_a_good_life_has_no_complaint() -> None:
    assert complaints(life(), k=1) == ""


def test_a_redelivery_after_the_lease_has_none() -> None:
    second = got(claim="c9", claims=2, attempt=2, began_at=2_000, ends_at=3_000)
    lines = [line for line in life(second) if line["what"] not in ("acking", "acked")]
    lines.append({"at": 90, "what": "acking", "who": "c", "key": "k"})
    assert complaints(lines, k=1) == ""


@pytest.mark.parametrize(
    "ends", [{"what": "coming", "who": "c"}, {"what": "giving back", "who": "c", "claim": "c2"}]
)
def test_a_claim_that_its_holder_gave_up_may_be_followed_at_once(ends: Line) -> None:
    second = got(claim="c9", claims=2, began_at=1_100, presence="p2", at=5.7)
    lines = [line for line in life() if line["what"] not in ("acking", "acked")]
    lines += [{"at": 5.5, **ends}, second, {"at": 9, "what": "acking", "who": "c", "key": "k"}]
    assert complaints(lines, k=1) == ""


@pytest.mark.parametrize(
    ("lines", "outputs", "said"),
    [
        ([line for line in life() if line["what"] != "got"], {"k": 1}, "never handed over"),
        (life(), {}, "no output"),
        (life(), {"k": 2}, "has 2 outputs"),
        ([line for line in life() if line["what"] != "acking"], {"k": 1}, "nobody acked it"),
        (
            life({"what": "sent", "who": "p", "key": "k", "message": "m5", "first": False}),
            {"k": 1},
            "stored more than once",
        ),
        (life(got(claim="c9", claims=2, began_at=9_000)), {"k": 1}, "after its ack"),
        (life(got()), {"k": 1}, "handed over again after its ack"),
        (
            life({"what": "acked", "who": "c", "key": "k", "delivery": "d2", "claim": "c9"}),
            {"k": 1},
            "acked as c2 and as c9",
        ),
        (
            life(got(claim="c9", claims=2, began_at=1_999, presence="p2", at=4.5)),
            {"k": 1},
            "c9 began at 1999",
        ),
        (
            life(
                {"what": "extended", "claim": "c2", "ends_at": 9_000, "who": "c", "at": 4.4},
                got(claim="c9", claims=2, began_at=2_500, presence="p2", at=4.5),
            ),
            {"k": 1},
            "c9 began at 2500",
        ),
        (life(got(claim="c1", began_at=0, ends_at=1, at=4.5)), {"k": 1}, "are counted [1, 1]"),
        (
            life(got(claim="c9", claims=2, attempt=0, began_at=9_000, at=4.5)),
            {"k": 1},
            "attempts are counted",
        ),
        (
            life(got(delivery="d1", claim="c1", message="m0", key="j", began_at=0, ends_at=1)),
            {"k": 1},
            "first claim of d1 came after d2",
        ),
        (
            life({"what": "sent", "who": "p", "key": "j", "message": "m0", "first": True}),
            {"k": 1, "j": 1},
            "m0 came after a higher one",
        ),
    ],
)
def test_the_checker_finds(lines: list[Line], outputs: dict[str, int], said: str) -> None:
    assert said in complaints(lines, **outputs)


def test_half_a_line_of_a_killed_writer_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "c.lines"
    Pen(path, "c").note("coming")
    with path.open("ab") as file:
        file.write(b'{"at": 1, "what"')
    (line,) = read([path])
    assert (line["who"], line["what"]) == ("c", "coming")
