"""The doctor looks at meshes, members, tokens and mailboxes."""

from __future__ import annotations

from pathlib import Path

import pytest
from patient import Patient, lived


@pytest.fixture
async def patient(tmp_path: Path) -> Patient:
    return await lived(tmp_path)


async def test_nothing_is_found_where_nothing_is_wrong(patient: Patient) -> None:
    report = patient.examined()
    assert report.ok, report.told()
    assert not any(report.checks.values())
    assert {name.partition(".")[0] for name in report.checks} == {
        "storage",
        "directory",
        "presence",
        "mail",
        "dispatch",
    }


async def test_tokens_without_a_member_are_deleted(patient: Patient) -> None:
    patient.spoil(
        "UPDATE tokens SET member_id = 99 WHERE parent IS NOT NULL",
        "UPDATE members SET removed_at = 1 WHERE name = 'alice'",
        "DELETE FROM presences",
        "DELETE FROM memberships",
    )
    problems = {one.problem for one in patient.found("directory.tokens")}
    assert problems == {"its member is gone"}
    assert len(patient.found("directory.tokens")) == 2
    patient.mended()


async def test_tokens_end_with_the_token_that_they_came_from(patient: Patient) -> None:
    patient.spoil("UPDATE tokens SET parent = 'gone' WHERE parent IS NOT NULL")
    (found,) = patient.found("directory.tokens")
    assert found.problem == "the token that it came from is gone"
    patient.mended()


async def test_a_member_gets_its_mailbox_back(patient: Patient) -> None:
    patient.spoil(
        "UPDATE mailboxes SET closed_at = 1 WHERE session IS NULL AND member_id ="
        " (SELECT id FROM members WHERE name = 'alice')"
    )
    (found,) = patient.found("directory.members")
    assert found.subject.startswith("member alice")
    assert found.repair == "give it one"
    patient.mended()


async def test_what_needs_a_person_is_only_told(patient: Patient) -> None:
    patient.spoil(
        "UPDATE members SET access = 'member'", "UPDATE members SET agent_types = '{' WHERE id = 2"
    )
    report = patient.examined(repair=True)
    assert (report.ok, report.left) == (False, 2)
    assert [(one.check, one.repair, one.repaired) for one in report.findings] == [
        ("directory.meshes", None, False),
        ("directory.members", None, False),
    ]


async def test_a_mailbox_of_nobody_is_deleted_with_what_is_in_it(patient: Patient) -> None:
    patient.spoil("INSERT INTO mailboxes (id, member_id, opened_at) VALUES (77, 99, 1)")
    (found,) = patient.found("directory.mailboxes")
    assert found.subject == "mailbox 77"
    patient.mended()
