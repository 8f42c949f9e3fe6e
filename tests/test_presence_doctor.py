"""The doctor looks at presences and groups."""

from __future__ import annotations

from pathlib import Path

import pytest
from patient import Patient, lived


@pytest.fixture
async def patient(tmp_path: Path) -> Patient:
    return await lived(tmp_path)


@pytest.mark.parametrize(
    "spoiling", ["DELETE FROM mailboxes WHERE session = 's1'",
                 "UPDATE mailboxes SET closed_at = 1 WHERE session = 's1'"]
)  # fmt: skip
async def test_presences_and_groups_without_a_mailbox_are_deleted(
    patient: Patient, spoiling: str
) -> None:
    patient.spoil(spoiling)
    (presence,) = patient.found("presence.mailboxes")
    assert presence.subject.startswith("p")
    assert presence.repair == "delete it"
    (groups,) = patient.found("presence.groups")
    assert groups.subject.startswith("memberships of mailbox ")
    patient.mended()


async def test_presences_of_removed_members_are_deleted(patient: Patient) -> None:
    patient.spoil("UPDATE members SET removed_at = 1 WHERE name = 'bob'")
    assert len(patient.found("presence.mailboxes")) == 1
    patient.mended()
