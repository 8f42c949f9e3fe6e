"""The doctor: what is looked for in a stopped broker's database, what was found, what mends it.

Owns: the list of checks and the course of an examination. Must not know any table: the nouns bring
their checks (`areas/<noun>/doctor.py`), each a function that yields what it finds.

    @check("mail.orphans")
    def orphans(case: Case) -> Iterator[Finding]:
        for seq, message in case.database.all(ORPHANS):
            yield Finding(f"d{seq}", f"its message m{message} is gone", mend("delete", DELETE, seq))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec import Struct

LISTED: Final = 100  # of each check; all are counted and repaired, nobody reads a million lines

Row = tuple[Any, ...]


class Database(Protocol):
    """The database under examination. Only a repair may run what changes it."""

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Change rows; how many."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a check is given."""

    database: Database
    now: int
    import_dispatches: Path | None = None
    """A folder of dispatch files that should be in the database, if one was named."""


@dataclass(frozen=True, slots=True)
class Repair:
    """How to mend a finding. It must leave a database in which its check finds it no more."""

    what: str
    do: Callable[[Database], object]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be; without a repair it needs a person."""

    subject: str
    problem: str
    repair: Repair | None = None


Check = Callable[[Case], Iterable[Finding]]

CHECKS: Final[dict[str, Check]] = {}
"""Every check by its name, `noun.what`."""


def check(name: str) -> Callable[[Check], Check]:
    """Add a check to the list."""

    def add(function: Check) -> Check:
        assert name not in CHECKS, name
        CHECKS[name] = function
        return function

    return add


def mend(what: str, sql: str, *values: object) -> Repair:
    """The repair that is one statement."""
    return Repair(what, lambda database: database.run(sql, values))


class Found(Struct):
    """A finding as the report shows it. `repair` says what would be, or has been, done."""

    check: str
    subject: str
    problem: str
    repair: str | None
    repaired: bool


class Report(Struct):
    """What an examination found. The names of these fields are stable."""

    data: str
    ok: bool
    """Whether nothing is left that is not as it should be."""
    checks: dict[str, int]
    """How much each check found."""
    findings: list[Found]
    """At most a hundred of each check."""
    left: int
    """How many findings are not repaired."""

    def told(self) -> str:
        """The same for people."""
        lines = []
        for one in self.findings:
            if one.repaired:
                end = f" (repaired: {one.repair})" if one.repair else " (repaired with another)"
            else:
                end = f" (--repair would {one.repair})" if one.repair else ""
            lines.append(f"{one.check}: {one.subject}: {one.problem}{end}")
        for name, count in self.checks.items():
            if count > LISTED:
                lines.append(f"{name}: {count - LISTED} more of the kind")
        total = sum(self.checks.values())
        end = f"{total} found, {total - self.left} repaired" if total else "nothing is amiss"
        return "\n".join([*lines, f"{len(self.checks)} checks on {self.data}: {end}"])


def examine(case: Case, data: str, checks: Mapping[str, Check], *, repair: bool) -> Report:
    """Run the checks, mend what they found if so wished, and look again."""
    found: list[tuple[str, Finding]] = []
    for name, function in checks.items():
        found += [(name, finding) for finding in function(case)]
    left = set(map(_key, found))
    if repair and found:
        for _, finding in found:
            if finding.repair is not None:
                finding.repair.do(case.database)
        again = [(name, finding) for name, look in checks.items() for finding in look(case)]
        known, left = left, set(map(_key, again))
        found += [one for one in again if _key(one) not in known]
    counts = dict.fromkeys(checks, 0)
    findings: list[Found] = []
    for name, finding in found:
        counts[name] += 1
        if counts[name] <= LISTED:
            what = finding.repair.what if finding.repair is not None else None
            mended = _key((name, finding)) not in left
            findings.append(Found(name, finding.subject, finding.problem, what, mended))
    return Report(data, not left, counts, findings, len(left))


def _key(one: tuple[str, Finding]) -> tuple[str, str, str]:
    name, finding = one
    return name, finding.subject, finding.problem
