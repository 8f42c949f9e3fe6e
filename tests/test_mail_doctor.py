"""The doctor looks at mail: what hangs in the air, numbers, claims, and what a message has lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from mail_desk import desk, held, send, take
from patient import Patient, lived


@pytest.fixture
async def patient(tmp_path: Path) -> Patient:
    return await lived(tmp_path)


def one(patient: Patient, statement: str) -> int:
    """A number from the database."""
    connection = sqlite3.connect(patient.directory / "postroom.db")
    try:
        return int(connection.execute(statement).fetchone()[0])
    finally:
        connection.close()


async def test_deliveries_without_a_message_are_deleted(patient: Patient) -> None:
    first = one(patient, "SELECT min(id) FROM messages")
    patient.spoil(f"DELETE FROM messages WHERE id = {first}")
    found = patient.found("mail.orphans")
    assert [(one.subject, one.problem) for one in found] == [
        (f"2 deliveries of m{first}", "the message is gone"),
        ("1 keys", "their messages are gone"),
    ]
    patient.mended()


async def test_deliveries_without_a_mailbox_are_deleted(patient: Patient) -> None:
    patient.spoil("UPDATE deliveries SET mailbox_id = 99 WHERE state = 'queued'")
    assert any(one.subject.endswith("in mailbox 99") for one in patient.found("mail.orphans"))
    report = patient.examined(repair=True)
    # They are gone, and that is told: their messages have fewer deliveries than they had.
    assert {one.check for one in report.findings if not one.repaired} == {"mail.totals"}


async def test_history_without_a_delivery_is_deleted(patient: Patient) -> None:
    patient.spoil("UPDATE delivery_history SET delivery = 9998")
    assert any("steps of history" in one.subject for one in patient.found("mail.orphans"))
    patient.mended()


async def test_a_lost_delivery_is_told(patient: Patient) -> None:
    last = one(patient, "SELECT max(id) FROM messages")
    patient.spoil(f"DELETE FROM deliveries WHERE message_id = {last} AND seq > {last + 1}")
    (found,) = patient.found("mail.totals")
    assert (found.subject, found.problem) == (f"m{last}", "it had 2 deliveries and has 1")
    assert (found.repair, found.repaired) == (None, False)
    assert not patient.examined(repair=True).ok


async def test_what_the_purge_may_have_taken_is_not_missed(patient: Patient) -> None:
    patient.spoil(
        "UPDATE messages SET sent_at = 1000",
        "INSERT INTO marks (name, value) VALUES ('purged', 1000)",
        "DELETE FROM deliveries WHERE seq = (SELECT max(seq) FROM deliveries)",
    )
    assert patient.examined().ok


async def test_a_purge_after_seconds_is_no_loss(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__retention_ms=2_000, mail__dedupe_ms=2_000) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", capacity=0, role="service")
        await send(ann, ["ann", "bob"], 1)
        await ann.ask("mail.ack", **held(await take(ann)))
        await r.advance(10_000)
        await send(ann, ["ann", "bob"], 2)
        assert r.rows("SELECT count(*) FROM deliveries") == [(3,)]
    patient = Patient(tmp_path)
    assert patient.examined().ok
    patient.spoil("DELETE FROM deliveries WHERE seq = (SELECT max(seq) FROM deliveries)")
    assert len(patient.found("mail.totals")) == 1


async def test_numbers_are_odd_for_messages_and_even_behind_them(patient: Patient) -> None:
    last, message = (
        one(patient, f"SELECT max({name}) FROM deliveries") for name in ("seq", "message_id")
    )
    for wrong in (last + 1_000, last + 1):
        patient.spoil(f"UPDATE deliveries SET seq = {wrong} WHERE seq = {last}")
        (found,) = patient.found("mail.numbers")
        assert found.subject == f"d{wrong}"
        assert found.problem == f"this is no number of a delivery of m{message}"
        last = wrong
    patient.spoil(f"UPDATE messages SET id = {message + 1} WHERE id = {message}")
    problems = {found.problem for found in patient.found("mail.numbers")}
    assert "a message's number is odd" in problems
    assert {found.subject for found in patient.found("storage.constraints")} == {
        "deliveries",
        "messages",
    }


async def test_no_number_is_given_twice(patient: Patient) -> None:
    patient.spoil("UPDATE marks SET value = 3 WHERE name = 'number'")
    last = one(patient, "SELECT max(max(seq), max(coalesce(claim_id, 0))) FROM deliveries")
    (found,) = patient.found("mail.numbers")
    assert found.subject == "the counter"
    patient.mended()
    mark = one(patient, "SELECT value FROM marks WHERE name = 'number'")
    assert mark > last
    assert mark % 2 == 1


async def test_what_nobody_holds_is_queued_again(patient: Patient) -> None:
    assert one(patient, "SELECT count(*) FROM deliveries WHERE state = 'claimed'") > 0
    patient.spoil("UPDATE deliveries SET claim_id = NULL WHERE state = 'claimed'")
    assert {one.problem for one in patient.found("mail.claims")} == {"it is claimed by nobody"}
    patient.mended()
    assert one(patient, "SELECT count(*) FROM deliveries WHERE state = 'claimed'") == 0


async def test_what_has_ended_has_an_end(patient: Patient) -> None:
    patient.spoil("UPDATE deliveries SET ended_at = NULL, delivered_at = NULL")
    assert len(patient.found("mail.claims")) == 2
    patient.mended()


async def test_lists_are_told_where_deliveries_are(patient: Patient) -> None:
    patient.spoil("DELETE FROM delivery_stretches")
    assert {one.problem for one in patient.found("mail.stretches")} == {"no list shows them"}
    patient.mended()
