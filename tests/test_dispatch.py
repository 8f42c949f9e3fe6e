"""The house rules of dispatch: one area writes, one statement leases, and it names its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dispatch_desk import TABLES

from broker.areas import dispatch, operations
from broker.store.queries import parse
from broker.wire.operations import OPERATIONS

NAMED = re.compile(r"\b(" + "|".join(TABLES) + r")\b")
LEASES = re.compile(r"\bUPDATE dispatch_queue SET\b.*\bstatus = 'leased'.*\bWHERE\b", re.DOTALL)
READS = re.compile(r"\bFROM dispatch_queue\b|\bJOIN dispatch_queue\b")
TIMED = {"next_due", "next_lease", "lapsed", "outlived"}


@pytest.fixture(scope="module")
def statements(checkout: Path) -> dict[tuple[str, str], str]:
    """Every statement of the area, by its file and name."""
    folder = checkout / "broker" / "areas" / "dispatch"
    return {
        (path.stem, name): statement
        for path in sorted(folder.glob("*.sql"))
        for name, statement in parse(path).items()
    }


def test_only_this_area_names_its_tables(checkout: Path) -> None:
    found = {
        path.relative_to(checkout).parts[:3]
        for folder in ("broker", "clients", "bench")
        for path in (checkout / folder).rglob("*")
        if path.suffix in (".py", ".sql") and NAMED.search(path.read_text(encoding="utf-8"))
    }
    assert found == {("broker", "areas", "dispatch")}


def test_the_tables_have_no_triggers(checkout: Path) -> None:
    migrations = (checkout / "migrations").glob("*.sql")
    assert not any("TRIGGER" in path.read_text(encoding="utf-8").upper() for path in migrations)


def test_one_statement_leases_and_it_names_the_key(
    statements: dict[tuple[str, str], str],
) -> None:
    leasing = {
        name: statement for name, statement in statements.items() if LEASES.search(statement)
    }
    assert list(leasing) == [("lease", "lease")]
    _, _, where = leasing["lease", "lease"].partition("WHERE ")
    assert where == "mesh_id = ? AND dispatch_key = ? AND status = 'pending'"


def test_no_row_is_born_leased(statements: dict[tuple[str, str], str]) -> None:
    assert not any(
        "INSERT INTO dispatch_queue" in statement and "leased" in statement
        for statement in statements.values()
    )


def test_what_is_given_out_is_named_by_its_whole_identity(
    statements: dict[tuple[str, str], str],
) -> None:
    """Prompts leave in one answer only, and no look-up that a change relies on goes by type."""
    with_prompt = [name for name, text in statements.items() if re.search(r"\bcontent\b", text)]
    assert with_prompt == [
        ("adopt", "add_prompt"),
        ("create", "insert_prompt"),
        ("doctor", "prompts"),
        ("lease", "content"),
    ]
    for (file, name), statement in statements.items():
        if file in ("inspect", "doctor") or not READS.search(statement) or name in TIMED:
            continue
        where = statement.partition("WHERE ")[2]
        assert re.match(
            r"(q\.id = \?|mesh_id = \? AND (id = \?|dispatch_key (= \?|IN \(\?, \?\))"
            r"|parent_session_id = \? AND agent_type = \? AND dag_task_id = \?))",
            where,
        ), (file, name)


def test_nothing_is_taken_out(statements: dict[tuple[str, str], str]) -> None:
    deleting = {file for (file, _), text in statements.items() if text.startswith("DELETE")}
    assert deleting == {"doctor"}, "only what hangs in the air, when an admin wishes it"


def test_no_fault_of_the_storage_is_caught(checkout: Path) -> None:
    for path in (checkout / "broker" / "areas" / "dispatch").glob("*.py"):
        caught = re.findall(r"except (.+?)(?: as \w+)?:", path.read_text(encoding="utf-8"))
        allowed = {
            "OSError",
            "Unreadable",
            "(msgspec.DecodeError, UnicodeDecodeError, RecursionError)",
        }
        assert set(caught) <= allowed, path


def test_every_operation_of_the_noun_is_handled_here() -> None:
    nouns = {op: request for op, request in OPERATIONS.items() if op.startswith("dispatch.")}
    assert dispatch.operations.table.keys() == set(nouns.values())
    assert operations.table.keys() >= dispatch.operations.table.keys()
    drained = {
        operation.name for operation in dispatch.operations.table.values() if operation.drains
    }
    assert drained == {
        "dispatch.consume",
        "dispatch.fail",
        "dispatch.get",
        "dispatch.list",
        "dispatch.renew",
    }
