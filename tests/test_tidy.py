"""The house: the rules of `rules.py` over every file, and each rule against what it must find."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rules
from rules import RULES, Source

from broker.store.queries import plain

Rule = Callable[[Source], Iterator[str]]

FOLDERS = ("broker", "clients", "bench", "tests")

UNTESTED = {
    "broker/core/ports.py": "protocols only, nothing in it runs",
}
"""Source files that need no test file of their own, and why."""
ACROSS = frozenset({"engines", "crash", "soak", "protocol", "tidy", "wheel"})
"""Tests that are about the whole."""

TABLE = re.compile(r"CREATE TABLE (\w+)", re.IGNORECASE)
MENTION = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE(?: OR \w+)?) (\w+)", re.IGNORECASE)


@pytest.fixture(scope="module")
def sources(checkout: Path) -> list[Source]:
    """Every Python file of the project."""
    return [
        Source(str(path.relative_to(checkout)), path.read_text(encoding="utf-8"))
        for folder in FOLDERS
        for path in sorted((checkout / folder).rglob("*.py"))
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps(rule: Rule, sources: list[Source]) -> None:
    complaints = [complaint for source in sources for complaint in rule(source)]
    assert not complaints, "\n".join(["", *complaints])


def test_no_folder_is_left_out(sources: list[Source]) -> None:
    assert {source.path.split("/")[0] for source in sources} == set(FOLDERS)


LONG_FUNCTION = "def f():\n" + "    pass\n" * rules.MAX_FUNCTION_LINES

FOUND = [
    (rules.imports_go_down, "broker/areas/mail.py", "from broker.net import outbox"),
    (rules.imports_go_down, "broker/areas/mail.py", "from broker.store.sqlite import Writer"),
    (rules.imports_go_down, "broker/core/turn.py", "import broker.areas.mail"),
    (rules.imports_go_down, "broker/core/turn.py", "from broker import app"),
    (rules.imports_go_down, "broker/net/hub.py", "from broker.core.executor import Executor"),
    (rules.imports_go_down, "broker/store/sqlite.py", "from broker.wire.errors import Refused"),
    (rules.imports_go_down, "broker/wire/mail.py", "if X:\n    from broker.core import turn"),
    (rules.imports_go_down, "broker/app.py", "from clients import connect"),
    (rules.imports_go_down, "broker/novelty.py", ""),
    (rules.imports_go_down, "clients/link.py", "from broker.config import SECOND"),
    (rules.imports_go_down, "clients/command/main.py", "from broker import app"),
    (rules.areas_call_downwards, "broker/areas/mail/accept.py", "import broker.areas.dispatch"),
    (rules.areas_call_downwards, "broker/areas/directory.py", "from broker.areas import mail"),
    (
        rules.areas_call_downwards,
        "broker/areas/dispatch.py",
        "from broker.areas import delegations",
    ),
    (rules.areas_call_downwards, "broker/areas/mail.py", "import asyncio"),
    (rules.areas_call_downwards, "broker/areas/mail.py", "async def send(): ..."),
    (rules.areas_call_downwards, "broker/areas/novelty.py", ""),
    (rules.modules_have_one_owner, "broker/core/executor.py", "import sqlite3"),
    (rules.modules_have_one_owner, "broker/store/migrate.py", "from aiosqlite import connect"),
    (rules.modules_have_one_owner, "broker/core/executor.py", "from websockets import frames"),
    (rules.modules_have_one_owner, "broker/net/hub.py", "from time import monotonic"),
    (rules.modules_have_one_owner, "broker/areas/mail.py", "import uuid, random"),
    (rules.modules_have_one_owner, "broker/app.py", "x = datetime.datetime.now(UTC)"),
    (rules.modules_have_one_owner, "broker/app.py", "x = os.urandom(8)"),
    (rules.files_have_one_idea, "clients/link.py", "import os"),
    (rules.files_have_one_idea, "broker/areas/mail.py", '"""A."""\n' + "x = 1\n" * 300),
    (rules.files_have_one_idea, "tests/test_a.py", f'"""A."""\n{LONG_FUNCTION}'),
    (rules.files_have_one_idea, "broker/core/utils.py", '"""A."""'),
    (rules.files_have_one_idea, "broker/core/task_manager.py", '"""A."""'),
    (rules.tasks_have_one_parent, "broker/net/server.py", "asyncio.create_task(f())"),
    (
        rules.tasks_have_one_parent,
        "broker/net/server.py",
        "from asyncio import *\nensure_future(f())",
    ),
    (
        rules.tasks_have_one_parent,
        "broker/core/turn.py",
        "async def f():\n    anyio.create_task_group()",
    ),
    (rules.tasks_have_one_parent, "clients/link.py", "loop.create_task(f())"),
    (rules.nothing_is_swallowed, "clients/link.py", "try: f()\nexcept: g()"),
    (rules.nothing_is_swallowed, "bench/run.py", "try: f()\nexcept Exception: pass"),
    (rules.nothing_is_swallowed, "bench/run.py", "try: f()\nexcept (OSError, BaseException): pass"),
    (rules.nothing_is_swallowed, "broker/app.py", "try: f()\nexcept asyncio.CancelledError: pass"),
    (rules.nothing_is_swallowed, "broker/app.py", "with contextlib.suppress(Exception): f()"),
    (rules.exceptions_to_rules_have_a_reason, "broker/app.py", "x = 1  # noqa"),
    (rules.exceptions_to_rules_have_a_reason, "broker/app.py", "x = 1  # noqa: S608"),
    (rules.exceptions_to_rules_have_a_reason, "broker/app.py", "x = 1  # type: ignore"),
    (rules.exceptions_to_rules_have_a_reason, "broker/app.py", "x = 1  # type: ignore[arg-type]"),
    (rules.exceptions_to_rules_have_a_reason, "tests/test_a.py", "x = 1  # TODO later"),
    (rules.nothing_is_printed, "broker/core/turn.py", "print(1)"),
    (rules.sql_stands_in_its_files, "broker/areas/mail.py", 'x = "SELECT 1 FROM a"'),
    (rules.sql_stands_in_its_files, "broker/core/turn.py", 'x = f"UPDATE {1} SET a"'),
]

FINE = [
    (rules.imports_go_down, "broker/areas/mail.py", "from broker.store.queries import Queries"),
    (rules.imports_go_down, "broker/app.py", "from broker.areas import mail"),
    (rules.imports_go_down, "clients/link.py", "from broker.wire import mail"),
    (rules.imports_go_down, "clients/command/main.py", "from broker import __version__"),
    (rules.areas_call_downwards, "broker/areas/mail/accept.py", "import broker.areas.presence"),
    (rules.areas_call_downwards, "broker/areas/mail/accept.py", "import broker.areas.mail.settle"),
    (rules.modules_have_one_owner, "broker/clock.py", "import time"),
    (rules.modules_have_one_owner, "clients/link.py", "import random, time"),
    (rules.files_have_one_idea, "clients/__init__.py", ""),
    (rules.tasks_have_one_parent, "broker/app.py", "anyio.create_task_group()"),
    (rules.tasks_have_one_parent, "clients/link.py", "anyio.create_task_group()"),
    (rules.nothing_is_swallowed, "broker/app.py", "try: f()\nexcept OSError: pass"),
    (rules.nothing_is_swallowed, "broker/app.py", "try: f()\nexcept Exception: log()"),
    (rules.exceptions_to_rules_have_a_reason, "broker/app.py", "x = 1  # noqa: S608 - constant"),
    (rules.exceptions_to_rules_have_a_reason, "a.py", "x = 1  # type: ignore[misc]  # stub is old"),
    (rules.nothing_is_printed, "bench/run.py", "print(1)"),
    (rules.sql_stands_in_its_files, "broker/core/turn.py", 'x = "Select one of these"'),
]


@pytest.mark.parametrize(("rule", "path", "text"), FOUND)
def test_a_rule_finds(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), FINE)
def test_a_rule_lets_pass(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(Source(path, text)))


def area_of(path: Path, checkout: Path) -> str:
    """The noun that a `.sql` file belongs to, or its part of the broker if that is not `areas`."""
    _, part, *rest = path.relative_to(checkout).with_suffix("").parts
    return rest[0] if part == "areas" else part


def test_each_table_belongs_to_one_area(checkout: Path) -> None:
    tables = {
        table
        for path in (checkout / "migrations").glob("*.sql")
        for table in TABLE.findall(path.read_text(encoding="utf-8"))
    }
    owners: dict[str, set[str]] = {}
    for path in (checkout / "broker").rglob("*.sql"):
        text = plain(path.read_text(encoding="utf-8").splitlines())
        for table in tables.intersection(MENTION.findall(text)):
            owners.setdefault(table, set()).add(area_of(path, checkout))
    assert owners
    shared = {table: areas for table, areas in owners.items() if len(areas) > 1}
    assert not shared, f"tables in the SQL of more than one area: {shared}"


def named_for(path: str) -> list[str]:
    """What the test file of a source file may be called: by the file, or by its package."""
    parts = Path(path).with_suffix("").parts[1:]
    ends = ["_".join(parts), "_".join(parts[1:]), "_".join(parts[:-1]), "_".join(parts[1:-1])]
    return [end for end in ends if end]


def test_every_source_file_has_its_test_file(checkout: Path, sources: list[Source]) -> None:
    tests = {path.stem.removeprefix("test_") for path in (checkout / "tests").glob("test_*.py")}
    missing = [
        source.path
        for source in sources
        if source.path.startswith(("broker/areas/", "broker/core/", "broker/net/", "broker/store/"))
        and not source.path.endswith("__init__.py")
        and source.path not in UNTESTED
        and not tests.intersection(named_for(source.path))
    ]
    assert not missing, "\n".join(["no test file for", *missing])


def test_the_exceptions_are_needed(checkout: Path) -> None:
    assert all((checkout / path).is_file() for path in UNTESTED)
