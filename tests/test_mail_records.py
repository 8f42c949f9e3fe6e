"""What stands on disk: the ids of the wire, one place for each fact, and its constraints."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mail_desk import desk, held, send, take

from broker.areas.mail.records import number


@pytest.mark.parametrize(
    ("written", "prefix", "found"),
    [
        ("m1", "m", 1),
        ("d20", "d", 20),
        ("m0", "m", 0),
        ("m", "m", 0),
        ("", "m", 0),
        ("d2", "m", 0),
        ("m-1", "m", 0),
        ("m+1", "m", 0),
        ("m1.0", "m", 0),
        ("m 1", "m", 0),
        ("m\u0661", "m", 0),
        ("m\u00b2", "m", 0),
        ("m" + "9" * 18, "m", 10**18 - 1),
        ("m" + "9" * 19, "m", 0),
    ],
)
def test_the_number_in_an_id(written: str, prefix: str, found: int) -> None:
    assert number(written, prefix) == found


async def test_the_phases_stand_in_their_columns(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        start = r.clock.now()
        await send(bob, "bob", 1)
        mail = await take(bob)
        columns = "state, claimed_at, claim_id, claim_expires_at, delivered_at, claimed_by"
        presence = int(bob.welcome["presence"][1:])
        claim = int(mail["claim"][1:])
        assert r.rows(f"SELECT {columns} FROM deliveries") == [
            ("claimed", start, claim, start + 30_000, None, presence)
        ]
        await r.advance(5)
        await bob.ask("mail.ack", **held(mail))
        assert r.rows(f"SELECT {columns} FROM deliveries") == [
            ("acked", start, claim, start + 30_000, start + 5, presence)
        ]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("messages", {"id": 2}),
        ("messages", {"priority": 256}),
        ("messages", {"priority": -1}),
        ("deliveries", {"seq": 3}),
        ("deliveries", {"message_id": 4}),
        ("deliveries", {"state": "lost"}),
        ("deliveries", {"state": "claimed", "claim_id": None}),
        ("deliveries", {"state": "acked", "delivered_at": None}),
        ("delivery_history", {"event": "found"}),
        ("mailbox_endings", {"reason": "boredom"}),
        ("message_keys", {"active": 2}),
    ],
)
async def test_what_cannot_be_is_refused_by_the_database(
    tmp_path: Path, table: str, values: dict[str, Any]
) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1, key="k")
        await bob.ask("mail.nack", **held(await take(bob)), delay_ms=1)
        await r.crash()
        connection = sqlite3.connect(r.directory / "postroom.db")
        connection.execute("INSERT INTO mailbox_endings VALUES (9, 9, 'session_closed')")
        sets = ", ".join(f"{name} = ?" for name in values)
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(f"UPDATE {table} SET {sets}", tuple(values.values()))
        connection.close()
        await r.start()


async def test_a_number_can_be_given_only_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        connection = sqlite3.connect(r.directory / "postroom.db")
        for table in ("messages", "deliveries"):
            with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
                connection.execute(f"INSERT INTO {table} SELECT * FROM {table}")
        connection.close()


async def test_claiming_and_due_mail_are_found_by_partial_indexes(tmp_path: Path) -> None:
    """However many rows have ended: the plans walk no table and sort nothing."""
    async with desk(tmp_path) as r:
        plans = {
            "SELECT seq FROM deliveries WHERE mailbox_id = 1 AND state = 'queued'"
            " AND due_at IS NULL AND seq > 0 ORDER BY priority DESC, seq LIMIT 64": "ready",
            "SELECT seq FROM deliveries WHERE state = 'queued' AND due_at IS NOT NULL"
            " AND due_at <= 1 ORDER BY due_at LIMIT 500": "due",
            "SELECT seq FROM deliveries WHERE state = 'queued' AND expires_at <= 1"
            " ORDER BY expires_at LIMIT 500": "expiring",
            "SELECT seq FROM deliveries WHERE mailbox_id = 1 AND state = 'dead' AND seq > 0"
            " ORDER BY seq LIMIT 200": "dead",
        }
        for query, index in plans.items():
            plan = " ".join(str(row[3]) for row in r.rows(f"EXPLAIN QUERY PLAN {query}"))
            assert f"deliveries_{index}" in plan
            assert "SCAN" not in plan
            assert "TEMP B-TREE" not in plan
