"""The broker's two hot tables, for the parts of the ceiling that write them without rules.

Owns: the three statements of a message's way, and how the database is opened. The tables are the
broker's own, out of its migrations, so that the ceiling pays for each index and CHECK that it has,
and their rows are written as the broker writes them.
Must not know who decides what is written.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bench.machine import ROOT
from broker.store.rows import Row, write
from broker.store.sqlite import lay_out, prepare

MIGRATIONS = ROOT / "migrations"
DATABASE = "postroom.db"

INSERT_MESSAGE = (
    "INSERT INTO messages (id, mesh_id, sender_id, from_mailbox, sender, target, kind, priority, "
    "body, sent_at, total, max_attempts) VALUES (?, ?, ?, ?, ?, ?, 'message', 50, ?, ?, 1, ?)"
)
INSERT_DELIVERY = (
    "INSERT INTO deliveries (seq, mailbox_id, message_id, state, priority, expires_at, claims, "
    "claim_id, claimed_by, claimed_at, claim_expires_at) "
    "VALUES (?1, ?2, ?1 - 1, 'claimed', 50, ?3, 1, ?1, ?2, ?4, ?5)"
)
ACK_DELIVERIES = (
    "UPDATE deliveries SET state = 'acked', delivered_at = ? "
    "WHERE seq IN (SELECT value FROM json_each(?)) AND claim_id = seq"
)


class Batch:
    """The rows of one commit."""

    def __init__(self) -> None:
        self.messages: list[Row] = []
        self.deliveries: list[Row] = []
        self.acks: list[int] = []


def create(data: Path) -> sqlite3.Connection:
    """A new database in `data`, durable as the broker's is."""
    connection = sqlite3.connect(data / DATABASE, isolation_level=None, cached_statements=64)
    prepare(connection, "full")
    for file in sorted(MIGRATIONS.glob("*.sql")):
        if not file.name.endswith(".down.sql"):
            connection.executescript(file.read_text())
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    lay_out(data / f"{DATABASE}-wal")
    return connection


def commit(connection: sqlite3.Connection, batch: Batch, now: int) -> None:
    """Write the rows and sync them, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    if batch.messages:
        write(connection, INSERT_MESSAGE, batch.messages)
        write(connection, INSERT_DELIVERY, batch.deliveries)
    if batch.acks:
        connection.execute(ACK_DELIVERIES, (now, str(batch.acks)))
    connection.execute("COMMIT")


def acked_rows(data: Path) -> int:
    """How many deliveries the database of a stopped target has as acked."""
    connection = sqlite3.connect(f"file:{data / DATABASE}?mode=ro", uri=True)
    try:
        query = "SELECT count(*) FROM deliveries WHERE state = 'acked'"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()
