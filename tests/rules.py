"""The house rules that a program can check, a function each: a file goes in, complaints come out.

Owns: the rules and the tables behind them. Knows nothing of the tree that they are applied to.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

CODE: Final = ("broker", "clients")
MAX_LINES: Final = 300
MAX_FUNCTION_LINES: Final = 69

EVERYWHERE: Final = ("broker.wire", "broker.clock", "broker.config")
# What an area sees of the storage: its own named statements, and the type of a read-only view.
SEAM: Final = ("broker.store.queries", "broker.store.sqlite.Look", "broker.store.sqlite.Row")
# What of the broker a part of it may import. `app` puts all the others together.
MAY_IMPORT: Final[dict[str, tuple[str, ...]]] = {
    "clock": (),
    "output": (),
    "config": (),
    "spread": (),
    "log": ("broker.clock",),
    "wire": EVERYWHERE,
    "store": ("broker.store", "broker.spread", "broker.clock", "broker.config"),
    "core": ("broker.core", "broker.store", "broker.spread", *EVERYWHERE),
    "areas": ("broker.areas", "broker.core", "broker.doctor", *SEAM, *EVERYWHERE),
    "net": ("broker.net", "broker.core.ports", *EVERYWHERE),
    "doctor": (),  # a list of checks: the nouns bring them, `maintenance` runs them
    "maintenance": ("broker",),
    "metrics": ("broker",),
    "data": ("broker.store", "broker.clock", "broker.config"),
    "app": ("broker",),
    "__main__": ("broker",),
}
# An area may call those with a lower number.
AREAS: Final = {
    "directory": 0,
    "presence": 1,
    "mail": 2,
    "dispatch": 3,
    "delegations": 3,
    "stats": 4,
}

# Who alone in the broker imports these. Time and chance have one place, or no test can hold them.
OWNERS: Final = {
    "aiosqlite": "broker/store/hop.py",
    "sqlite3": "broker/store/",
    "websockets": "broker/net/",
    "time": "broker/clock.py",
    "random": "broker/clock.py",
    "secrets": "broker/clock.py",
    "uuid": "broker/clock.py",
}
WAITING: Final = frozenset({"anyio", "asyncio", "select", "socket", "threading"})
TIME_READERS: Final = frozenset({"datetime.now", "datetime.utcnow", "date.today", "os.urandom"})

SPAWNING: Final = frozenset({"create_task", "ensure_future", "TaskGroup", "create_task_group"})
EMPTY_NAMES: Final = frozenset({"common", "helper", "helpers", "manager", "util", "utils"})
BROAD: Final = frozenset({"BaseException", "CancelledError", "Exception"})

WITHOUT_REASON: Final = re.compile(
    r"#\s*noqa(?!: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)* - \w)"
    r"|#\s*type:\s*ignore(?!\[[a-z, -]+\]  # \w)"
    r"|#\s*(TODO|FIXME|XXX)"
)
SQL: Final = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE FROM|WITH \w+ AS)\b")


@dataclass(frozen=True)
class Source:
    """One Python file, by its path from the top of the checkout."""

    path: str
    text: str

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))

    @property
    def part(self) -> str:
        """The part of the broker that the file belongs to; empty outside of it."""
        folders = self.path.split("/")
        return folders[1].removesuffix(".py") if folders[0] == "broker" else ""

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """Every imported module, and every name imported from one, with its line."""
        found: list[tuple[int, str]] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(node.lineno, name.name) for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                found += [(node.lineno, f"{module}.{name.name}") for name in node.names]
        return found

    def at(self, line: int, complaint: str) -> str:
        return f"{self.path}:{line}: {complaint}"


def within(name: str, *modules: str) -> bool:
    """Whether a name is one of these modules, or stands in one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def imports_go_down(source: Source) -> Iterator[str]:
    """`net` and `areas` do not know each other, the broker knows no client, clients the wire."""
    if source.path == "broker/__init__.py" or not within(source.path.split("/")[0], *CODE):
        return
    if source.part and source.part not in MAY_IMPORT:
        yield source.at(1, f"{source.part!r} has no place in the house")
        return
    allowed = MAY_IMPORT[source.part] if source.part else ("broker.wire", "clients")
    for line, name in source.imports:
        ours = within(name, "broker", "clients", "bench", "tests")
        if ours and name != "broker.__version__" and not within(name, *allowed):
            yield source.at(line, f"may not import {name}")


def areas_call_downwards(source: Source) -> Iterator[str]:
    """Directory, presence, mail, then dispatch and delegations: calls go one way and wait never."""
    if source.part != "areas" or source.path == "broker/areas/__init__.py":
        return
    noun = source.path.split("/")[2].removesuffix(".py")
    if noun not in AREAS:
        yield source.at(1, f"{noun!r} has no place among the areas")
        return
    for line, name in source.imports:
        other = name.split(".")[2] if name.startswith("broker.areas.") else noun
        if other != noun and not (other in AREAS and AREAS[other] < AREAS[noun]):
            yield source.at(line, f"{noun} may not call {other}")
        if within(name, *WAITING):
            yield source.at(line, f"an area waits for nothing: no {name}")
    for node in source.nodes:
        if isinstance(node, ast.AsyncFunctionDef):
            yield source.at(node.lineno, f"{node.name}: an area waits for nothing")


def modules_have_one_owner(source: Source) -> Iterator[str]:
    """The database, the socket, time and chance are each reached in one place."""
    if not source.part:
        return
    for line, name in source.imports:
        owner = OWNERS.get(name.split(".")[0], source.path)
        if not source.path.startswith(owner):
            yield source.at(line, f"only {owner} imports {name.split('.')[0]}")
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and source.path != "broker/clock.py":
            last = ".".join(ast.unparse(node).split(".")[-2:])
            if last in TIME_READERS:
                yield source.at(node.lineno, f"only broker/clock.py calls {last}")


def files_have_one_idea(source: Source) -> Iterator[str]:
    """A docstring first; not long; functions that fit a screen; a name that says something."""
    first, *nodes = source.nodes
    assert isinstance(first, ast.Module)
    if source.text and ast.get_docstring(first) is None:
        yield source.at(1, "does not say what it owns")
    # One test file per source file, however many cases that takes.
    if (lines := source.text.count("\n")) > MAX_LINES and not source.path.startswith("tests/"):
        yield source.at(lines, f"has {lines} lines, more than {MAX_LINES}")
    if EMPTY_NAMES.intersection(re.split(r"[/._]", source.path)):
        yield source.at(1, "has a name that says nothing")
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield source.at(node.lineno, f"{node.name} has {lines} lines")


def tasks_have_one_parent(source: Source) -> Iterator[str]:
    """app.py owns the broker's task tree; a client owns its own, with task groups."""
    if not within(source.path.split("/")[0], *CODE) or source.path == "broker/app.py":
        return
    for node in source.nodes:
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if name in SPAWNING and (source.part or "task_group" not in name.lower()):
            yield source.at(getattr(node, "lineno", 1), f"{name} outside the one task tree")


def nothing_is_swallowed(source: Source) -> Iterator[str]:
    """No bare except; what catches everything does something with it."""
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler):
            kinds = set(re.findall(r"\w+", ast.unparse(node.type))) if node.type else BROAD
            silent = all(isinstance(line, ast.Pass | ast.Continue) for line in node.body)
            if node.type is None or (silent and kinds & BROAD):
                yield source.at(node.lineno, "swallows every exception")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            kinds = {ast.unparse(kind).split(".")[-1] for kind in node.args}
            if kinds & BROAD:
                yield source.at(node.lineno, "swallows every exception")


def exceptions_to_rules_have_a_reason(source: Source) -> Iterator[str]:
    """`# noqa: X1 - why`, `# type: ignore[x]  # why`; no promise to do it later."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and WITHOUT_REASON.search(token.string):
            yield source.at(token.start[0], f"gives no reason: {token.string}")


def nothing_is_printed(source: Source) -> Iterator[str]:
    """The broker logs; the one line on its standard output is written by who starts it."""
    if source.part in ("", "app", "__main__"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Name) and node.id == "print":
            yield source.at(node.lineno, "prints")


def sql_stands_in_its_files(source: Source) -> Iterator[str]:
    """Only the storage itself, which knows no area, has SQL in Python."""
    if source.part in ("", "store"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and SQL.match(str(node.value)):
            yield source.at(node.lineno, "SQL in Python")


RULES: Final = (
    imports_go_down,
    areas_call_downwards,
    modules_have_one_owner,
    files_have_one_idea,
    tasks_have_one_parent,
    nothing_is_swallowed,
    exceptions_to_rules_have_a_reason,
    nothing_is_printed,
    sql_stands_in_its_files,
)
