"""An examination: checks by name, findings with or without a repair, looked at again afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from broker.doctor import LISTED, Case, Finding, Repair, Row, examine, mend


class Shelf:
    """A database that is a list of numbers: even ones are wrong, and 8 cannot be mended."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        return (len(self.numbers),)

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return [(number,) for number in self.numbers]

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        assert sql == "REMOVE"
        self.numbers.remove(values[0])
        return 1


def even(case: Case) -> Iterator[Finding]:
    for (number,) in case.database.all("ALL"):
        if number % 2 == 0:
            repair = mend("remove it", "REMOVE", number) if number != 8 else None
            yield Finding(str(number), "is even", repair)


def few(case: Case) -> Iterator[Finding]:
    row = case.database.one("COUNT")
    if row is not None and row[0] < 3:
        yield Finding("the shelf", f"holds {row[0]}")


CHECKS = {"shelf.even": even, "shelf.few": few}


def test_what_is_found_is_counted_and_told() -> None:
    report = examine(Case(Shelf(1, 2, 8), 0), "here", CHECKS, repair=False)
    assert (report.ok, report.left, report.checks) == (False, 2, {"shelf.even": 2, "shelf.few": 0})
    assert report.told().splitlines() == [
        "shelf.even: 2: is even (--repair would remove it)",
        "shelf.even: 8: is even",
        "2 checks on here: 2 found, 0 repaired",
    ]


def test_its_document_has_stable_names() -> None:
    report = examine(Case(Shelf(1, 2, 3, 5), 0), "here", CHECKS, repair=False)
    assert msgspec.json.decode(msgspec.json.encode(report)) == {
        "data": "here",
        "ok": False,
        "checks": {"shelf.even": 1, "shelf.few": 0},
        "findings": [
            {
                "check": "shelf.even",
                "subject": "2",
                "problem": "is even",
                "repair": "remove it",
                "repaired": False,
            }
        ],
        "left": 1,
    }


def test_a_repair_is_looked_at_and_so_is_what_follows_from_it() -> None:
    shelf = Shelf(1, 2, 4, 8)
    report = examine(Case(shelf, 0), "here", CHECKS, repair=True)
    assert shelf.numbers == [1, 8]
    assert report.told().splitlines() == [
        "shelf.even: 2: is even (repaired: remove it)",
        "shelf.even: 4: is even (repaired: remove it)",
        "shelf.even: 8: is even",
        "shelf.few: the shelf: holds 2",
        "2 checks on here: 4 found, 2 repaired",
    ]


def test_a_repair_that_does_nothing_is_not_believed() -> None:
    def stubborn(case: Case) -> Iterator[Finding]:
        yield Finding("it", "is there", Repair("leave it", lambda database: None))

    report = examine(Case(Shelf(), 0), "here", {"shelf.stubborn": stubborn}, repair=True)
    assert (report.ok, report.findings[0].repaired) == (False, False)


def test_nothing_amiss_is_one_line() -> None:
    report = examine(Case(Shelf(1, 3, 5), 0), "here", CHECKS, repair=True)
    assert (report.ok, report.told()) == (True, "2 checks on here: nothing is amiss")


def test_many_of_a_kind_are_counted_and_mended_but_not_listed() -> None:
    shelf = Shelf(1, 3, 5, *range(10, 1_010, 2))
    report = examine(Case(shelf, 0), "here", CHECKS, repair=True)
    assert shelf.numbers == [1, 3, 5]
    assert (len(report.findings), report.checks["shelf.even"], report.ok) == (LISTED, 500, True)
    assert "shelf.even: 400 more of the kind" in report.told()
