"""The writing connection: when a transaction begins, the order of its rows, commits."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from failing_storage import FailingStorage, broken, constraint, full
from rig import rig

from broker.store import writer as writer_module
from broker.store.hop import Hop
from broker.store.sqlite import StoreFault, connect, prepare
from broker.store.writer import Writer

TABLES = (
    "CREATE TABLE parents (id INTEGER PRIMARY KEY, said TEXT)",
    "CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id))",
    "CREATE TABLE late (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
)
PARENT = "INSERT INTO parents (id, said) VALUES (?, ?)"
CHILD = "INSERT INTO children (id, parent) VALUES (?, ?)"
SAY = "UPDATE parents SET said = ? WHERE id = ?"
ALL = "SELECT id, said FROM parents ORDER BY id"


@pytest.fixture
def storage() -> FailingStorage:
    return FailingStorage()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def writer(path: Path, storage: FailingStorage) -> Iterator[Writer]:
    path.touch()
    connection = storage(f"{path.as_uri()}?mode=rw")
    prepare(connection, "normal")
    for table in TABLES:
        connection.execute(table)
    storage.watch()
    yield Writer(connection)
    connection.close()


def seen(path: Path) -> list[tuple[int, str]]:
    """What another connection sees."""
    connection = connect(path.as_uri())
    try:
        return connection.execute(ALL).fetchall()
    finally:
        connection.close()


def test_a_transaction_begins_with_its_first_statement(
    writer: Writer, storage: FailingStorage, path: Path
) -> None:
    writer.commit()
    writer.later(PARENT, (1, "a"))
    assert storage.ran == []
    waits = writer.writes
    assert waits
    assert writer.all(ALL) == [(1, "a")]
    assert seen(path) == []
    writer.commit()
    assert storage.ran == ["BEGIN IMMEDIATE", PARENT, ALL, "COMMIT"]
    assert not writer.writes
    assert seen(path) == [(1, "a")]


def test_a_commit_of_nothing_is_none(writer: Writer, storage: FailingStorage) -> None:
    storage.fail(full)
    writer.commit()
    assert not writer.wrote
    storage.heal()
    writer.one(ALL)
    writer.commit()
    assert writer.wrote


def test_what_it_tells_of_each_statement(writer: Writer) -> None:
    assert writer.insert(PARENT, (7, "a")) == 7
    assert writer.one(ALL) == (7, "a")
    assert writer.one(ALL.replace("ORDER", "WHERE id > ? ORDER"), (7,)) is None
    assert writer.run(SAY, ("b", 7)) == 1
    assert writer.run(SAY, ("b", 8)) == 0
    assert (writer.rows, writer.statements) == (2, 5)
    assert writer.run("CREATE TABLE more (id)") == -1
    assert writer.rows == 2


def test_rows_wait_and_new_ones_go_first(writer: Writer, storage: FailingStorage) -> None:
    """A change may have been used before the new row that it changes came, or a child's parent."""
    writer.later(SAY, ("b", 1))
    writer.later(PARENT, (1, "a"))
    writer.later(SAY, ("c", 2))
    writer.later(CHILD, (1, 1))
    writer.later(PARENT, (2, "a"))
    writer.flush()
    assert storage.ran == ["BEGIN IMMEDIATE", PARENT, CHILD, SAY]
    assert writer.all(ALL) == [(1, "b"), (2, "c")]
    assert (writer.rows, writer.statements) == (5, 4)
    storage.watch()
    writer.flush()
    assert storage.ran == []


@pytest.mark.parametrize("asking", ["one", "all", "run", "insert"])
def test_every_other_statement_sees_what_waits(writer: Writer, asking: str) -> None:
    writer.later(PARENT, (1, "a"))
    sql = "INSERT INTO parents (said) SELECT said FROM parents RETURNING said"
    getattr(writer, asking)(sql)
    assert writer.all(ALL) == [(1, "a"), (2, "a")]


def test_a_row_that_was_not_there_to_be_changed(writer: Writer, path: Path) -> None:
    """What `later` changes was seen in memory: if the database has it not, the two disagree."""
    writer.later(PARENT, (1, "a"))
    writer.later(SAY, ("b", 1))
    writer.later(SAY, ("b", 2))
    with pytest.raises(StoreFault, match="1 of 2 rows written: UPDATE parents") as failed:
        writer.commit()
    assert failed.value.ours
    assert not failed.value.fatal
    assert writer.rollback()
    assert seen(path) == []
    writer.commit()
    assert not writer.wrote


def test_a_savepoint_costs_nothing_until_it_is_used(
    writer: Writer, storage: FailingStorage
) -> None:
    writer.savepoint()
    writer.release()
    writer.savepoint()
    writer.back()
    assert storage.ran == []
    writer.savepoint()
    writer.one(ALL)
    writer.release()
    writer.savepoint()
    writer.later(PARENT, (1, "a"))
    writer.release()
    writer.commit()
    mark = ["SAVEPOINT request"]
    kept = ["RELEASE request"]
    assert storage.ran == ["BEGIN IMMEDIATE", *mark, ALL, *kept, *mark, PARENT, *kept, "COMMIT"]


def test_what_came_after_the_mark_is_taken_back_and_no_more(writer: Writer, path: Path) -> None:
    writer.later(PARENT, (1, "before, waiting"))
    writer.savepoint()
    writer.later(PARENT, (2, "after, waiting"))
    writer.back()
    writer.savepoint()
    writer.run(PARENT, (3, "after, written"))
    writer.later(PARENT, (4, "after, waiting"))
    writer.back()
    writer.savepoint()
    writer.later(PARENT, (5, "kept"))
    writer.release()
    writer.later(PARENT, (6, "after all"))
    writer.commit()
    assert [id for id, _ in seen(path)] == [1, 5, 6]


@pytest.mark.parametrize(
    ("error", "fatal", "ours"),
    [(full, False, False), (broken, True, False), (constraint, False, True)],
)
def test_a_commit_that_fails(
    writer: Writer, storage: FailingStorage, path: Path, error: object, fatal: bool, ours: bool
) -> None:
    assert callable(error)
    writer.later(PARENT, (1, "a"))
    storage.fail(error, only="COMMIT")
    with pytest.raises(StoreFault) as failed:
        writer.commit()
    assert (failed.value.fatal, failed.value.ours) == (fatal, ours)
    assert writer.rollback()
    storage.heal()
    assert not writer.writes
    assert seen(path) == []
    writer.later(PARENT, (2, "b"))
    if fatal:
        # What the disk holds is not known: not a byte more is written to it.
        storage.watch()
        for _ in range(2):
            with pytest.raises(StoreFault, match="not synced") as after:
                writer.commit()
            assert not after.value.ours
            assert not after.value.fatal
            assert writer.rollback()
            writer.later(PARENT, (3, "c"))
        assert storage.ran == []
        return
    writer.commit()
    assert seen(path) == [(2, "b")]


def test_a_statement_that_fails_before_the_commit_is_not_fatal(
    writer: Writer, storage: FailingStorage
) -> None:
    writer.later(PARENT, (1, "a"))
    storage.fail(broken, only="INSERT")
    with pytest.raises(StoreFault) as failed:
        writer.commit()
    assert not failed.value.fatal
    assert writer.rollback()


def test_a_rule_that_is_looked_at_only_at_the_commit(writer: Writer, path: Path) -> None:
    writer.run("INSERT INTO late (parent) VALUES (1)")
    with pytest.raises(StoreFault, match="FOREIGN KEY") as failed:
        writer.commit()
    assert failed.value.ours
    assert writer.rollback()
    assert seen(path) == []


def test_a_transaction_that_sqlite_took_back_by_itself(
    writer: Writer, storage: FailingStorage
) -> None:
    """As on a full disk: nothing of it stands, and a part of it must not be run again alone."""
    writer.run(PARENT, (1, "a"))
    storage.fail(full, gone=True)
    with pytest.raises(sqlite3.OperationalError):
        writer.run(PARENT, (2, "b"))
    storage.heal()
    writer.later(PARENT, (3, "waits"))
    assert not writer.rollback()
    assert not writer.writes
    assert writer.all(ALL) == []


def test_a_rollback_forgets_a_mark_that_was_not_used(writer: Writer, path: Path) -> None:
    writer.later(PARENT, (1, "a"))
    writer.savepoint()
    assert writer.rollback()
    writer.later(PARENT, (2, "no mark is left"))
    writer.commit()
    assert seen(path) == [(2, "no mark is left")]


def test_a_probe_writes(writer: Writer, storage: FailingStorage) -> None:
    writer.probe()
    storage.fail(full, only="COMMIT")
    with pytest.raises(StoreFault):
        writer.commit()
    storage.heal()
    writer.rollback()
    writer.probe()
    writer.commit()
    assert writer.wrote


def test_a_quick_commit_is_done_at_once(writer: Writer, storage: FailingStorage) -> None:
    told: list[BaseException | None] = []
    writer.later(PARENT, (1, "a"))
    writer.finish(told.append)
    storage.fail(full, only="COMMIT")
    writer.later(PARENT, (2, "b"))
    writer.finish(told.append)
    assert told[0] is None
    assert isinstance(told[1], StoreFault)
    assert sum(writer.seconds.counts) == 1


class Threads(FailingStorage):
    """Remembers on which thread commits ran."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[int] = []

    def _before(self, connection: sqlite3.Connection, sql: str) -> None:
        if sql == "COMMIT":
            self.commits.append(threading.get_ident())
        super()._before(connection, sql)


@asynccontextmanager
async def slow(path: Path, storage: FailingStorage) -> AsyncIterator[Writer]:
    """A writer with a thread for its commits."""
    raw: list[sqlite3.Connection] = []

    def make() -> sqlite3.Connection:
        path.touch()
        raw.append(storage(f"{path.as_uri()}?mode=rw"))
        return raw[0]

    hop = Hop(make, iter_chunk_size=64)
    await hop
    prepare(raw[0], "normal")
    raw[0].execute(TABLES[0])
    try:
        yield Writer(raw[0], hop)
    finally:
        await hop.close()


async def finished(writer: Writer) -> BaseException | None:
    done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    writer.finish(done.set_result)
    return await done


async def test_a_slow_commit_leaves_the_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, here = Threads(), threading.get_ident()
    async with slow(path, storage) as writer:
        writer.later(PARENT, (1, "a"))
        assert await finished(writer) is None
        assert storage.commits == [here]
        monkeypatch.setattr(writer_module, "SLOW_COMMIT_SECONDS", 0.0)
        writer.later(PARENT, (2, "b"))
        assert await finished(writer) is None
        assert len(set(storage.commits)) == 2
        writer.later(PARENT, (2, "twice"))
        fault = await finished(writer)
        assert isinstance(fault, StoreFault)
        assert fault.ours
        assert writer.rollback()
        storage.fail(broken, only="COMMIT")
        writer.later(PARENT, (3, "c"))
        fault = await finished(writer)
        assert isinstance(fault, StoreFault)
        assert fault.fatal
        assert writer.rollback()
        storage.heal()
    assert seen(path) == [(1, "a"), (2, "b")]


async def test_a_checkpoint_now_and_then_does_not_make_the_disk_slow(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, here = Threads(), threading.get_ident()
    pauses: list[float] = []
    clock = itertools.accumulate(pauses)
    monkeypatch.setattr(writer_module, "monotonic", lambda: next(clock))
    async with slow(path, storage) as writer:

        async def leaves(seconds: float) -> bool:
            pauses.extend((0.0, seconds))
            writer.later(PARENT, (len(storage.commits) + 1, ""))
            assert await finished(writer) is None
            return storage.commits[-1] != here

        for _ in range(5):
            assert not await leaves(0.025)
            assert not any([await leaves(0.0005) for _ in range(15)])
        assert any([await leaves(0.005) for _ in range(20)])
        assert await leaves(0.005)
        assert not all([await leaves(0.0005) for _ in range(20)])
        assert not await leaves(1.0)
        assert all([await leaves(0.0005) for _ in range(30)]), "a stall is remembered for a while"


async def test_answers_stay_right_when_commits_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while a commit is in flight waits for the next batch; nothing leaves early."""
    monkeypatch.setattr(writer_module, "SLOW_COMMIT_SECONDS", 0.0)
    storage = Threads()
    async with rig(tmp_path, storage, store__synchronous="normal") as r:
        alice, bob = await r.join("alice"), await r.join("bob", capacity=100)
        executor = r.broker.executor
        first = alice.post("mail.send", to="bob", body=1)
        executor.run()
        assert executor.committing
        second = alice.post("mail.send", to="bob", body=2)
        executor.run()
        assert not [frame for frame in alice.line.frames if frame.get("re") in (first, second)]
        assert bob.mail() == []
        await r.settle()
        assert alice.reply(first)["ok"]["seq"] < alice.reply(second)["ok"]["seq"]
        mail = bob.mail()
        assert [one["body"] for one in mail] == [1, 2]
        storage.fail(full, only="COMMIT")
        await bob.refused(
            "unavailable", "mail.ack", delivery=mail[0]["delivery"], claim=mail[0]["claim"]
        )
        storage.heal()
        await r.advance(1_000)
        for one in mail:
            asked = {"delivery": one["delivery"], "claim": one["claim"]}
            assert (await bob.ask("mail.ack", **asked))["state"] == "acked"
        assert r.rows("SELECT DISTINCT state FROM deliveries") == [("acked",)]
        assert threading.get_ident() not in storage.commits[2:]
