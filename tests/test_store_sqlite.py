"""The engine: how its two connections are opened, and what is set on them."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from broker.store.sqlite import CHECKPOINT_PAGES, Look, connect, open_store, prepare

PAGE = 4_096
FULL, NORMAL = 2, 1  # as `PRAGMA synchronous` numbers them


def made(directory: Path) -> Path:
    path = directory / "a.db"
    connection = connect(path.as_uri())
    connection.execute("CREATE TABLE a (x INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE b (a INTEGER REFERENCES a (x))")
    connection.close()
    return path


@pytest.mark.parametrize(("setting", "number"), [("full", FULL), ("normal", NORMAL)])
async def test_what_is_set(tmp_path: Path, setting: str, number: int) -> None:
    store = await open_store(made(tmp_path), setting)
    try:
        expected = {
            "journal_mode": "wal",
            "synchronous": number,
            "foreign_keys": 1,
            "wal_autocheckpoint": CHECKPOINT_PAGES,
            "temp_store": 2,
        }
        for name, value in expected.items():
            assert store.writer.one(f"PRAGMA {name}") == (value,), name

        def mode(look: Look) -> object:
            return look.one("PRAGMA journal_mode")

        assert await store.reader.look(mode, 10) == ("wal",)
        with pytest.raises(sqlite3.IntegrityError):
            store.writer.run("INSERT INTO b VALUES (1)")
    finally:
        await store.close()


def test_what_is_not_known_is_not_taken_for_less(tmp_path: Path) -> None:
    """Only the word `normal` makes a commit less durable, and both are what SQLite understands."""
    connection = connect(made(tmp_path).as_uri())
    prepare(connection, "full")
    assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)
    connection.close()


def test_no_transaction_begins_by_itself(tmp_path: Path) -> None:
    connection = connect(made(tmp_path).as_uri())
    connection.execute("INSERT INTO a VALUES (1)")
    assert not connection.in_transaction
    connection.close()


async def test_the_log_of_the_last_run_is_taken_over_at_the_start(tmp_path: Path) -> None:
    path = made(tmp_path)
    left = connect(path.as_uri())
    prepare(left, "normal")
    left.execute("INSERT INTO a VALUES (1)")
    assert path.with_name("a.db-wal").stat().st_size > 0
    store = await open_store(path, "normal")
    try:
        assert store.size() == (path.stat().st_size, 0)
        assert store.writer.one("SELECT x FROM a") == (1,)
    finally:
        await store.close()
        left.close()


async def test_a_log_is_laid_out_once_and_is_empty_to_sqlite(tmp_path: Path) -> None:
    path = made(tmp_path)
    store = await open_store(path, "normal")
    try:
        store.lay_out_log()
        laid_out = store.size()[1]
        assert laid_out > CHECKPOINT_PAGES * PAGE
        store.writer.run("INSERT INTO a VALUES (1)")
        store.writer.commit()
        store.lay_out_log()
        assert store.size()[1] == laid_out
        copy = tmp_path / "copy.db"  # what a start after a crash finds
        for end in ("", "-wal"):
            copy.with_name(f"copy.db{end}").write_bytes(path.with_name(f"a.db{end}").read_bytes())
    finally:
        await store.close()
    for left in (path, copy):
        connection = connect(left.as_uri())
        assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
        connection.close()


async def test_a_start_after_a_crash_before_the_first_commit(tmp_path: Path) -> None:
    path = made(tmp_path)
    path.with_name("a.db-wal").write_bytes(bytes(5 * PAGE))
    connection = connect(path.as_uri())
    prepare(connection, "full")
    connection.execute("INSERT INTO a VALUES (1)")
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
    connection.close()


async def test_without_room_for_a_log_that_is_laid_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "made up")

    store = await open_store(made(tmp_path), "full")
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", no_room)
            store.lay_out_log()
        assert store.size()[1] == 0
        store.writer.run("INSERT INTO a VALUES (1)")
        store.writer.commit()
    finally:
        await store.close()


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await open_store(tmp_path / "absent.db", "full")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failing", ["mode=rw", "mode=ro"])
async def test_if_one_cannot_be_opened_both_are_closed(tmp_path: Path, failing: str) -> None:
    opened: list[sqlite3.Connection] = []

    def connector(uri: str) -> sqlite3.Connection:
        if failing in uri:
            raise sqlite3.OperationalError("made up")
        opened.append(connect(uri))
        return opened[-1]

    with pytest.raises(sqlite3.OperationalError, match="made up"):
        await open_store(made(tmp_path), "full", connector)
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
