"""The executor: batches and their bounds, whose turn it is, and what a failing storage does."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broken_disk import BrokenDisk
from failing_storage import FailingStorage, broken, constraint, fault, full
from memory_dump import remembered, stored
from rig import Peer, Rig, rig

from broker.areas import operations
from broker.core import executor as executor_module
from broker.core.executor import BATCH_REQUESTS, RETRY_MS
from broker.core.operations import Looking
from broker.core.ring import SHARE
from broker.core.turn import Turn
from broker.store.sqlite import Writer
from broker.wire.mail import ListMail, Send

LOGGER = "broker.executor"


def many(peer: Peer, count: int, op: str = "group.list", **fields: Any) -> list[int]:
    """Post that many requests; their ids."""
    return [peer.post(op, **fields) for _ in range(count)]


def batch(r: Rig) -> None:
    """Run one batch, whose commit stays on this thread however slow the disk is."""
    r.broker.store.writer._hop = None
    r.broker.executor.run()


def answers(peer: Peer) -> list[Any]:
    """The ids of all that was answered, in order."""
    return [frame["re"] for frame in peer.line.frames if "re" in frame]


def code(peer: Peer, id: int) -> str:
    frame = peer.reply(id)
    return str(frame["error"]["code"]) if "error" in frame else "ok"


class Disturbed:
    """The handler of `mail.send`, which fails after its work when the body says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.calls: list[Any] = []
        operation = operations.table[Send]
        function = operation.function

        def send(turn: Turn, caller: Any, request: Send) -> Any:
            answer = function(turn, caller, request)
            body = msgspec.json.decode(request.body)
            self.calls.append(body)
            if body == "fails":
                raise error
            return answer

        monkeypatch.setattr(operation, "function", send)


# -- batches ---------------------------------------------------------------------------------------


async def test_requests_of_all_connections_share_a_commit(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        ann, bob = await r.join("ann"), await r.join("bob")
        storage.watch()
        many(ann, 3, "mail.send", to="bob", body=1)
        many(bob, 3, "mail.send", to="ann", body=1)
        batch(r)
        assert storage.ran.count("COMMIT") == 1
        assert r.rows("SELECT count(*) FROM messages") == [(6,)]


async def test_nothing_leaves_before_the_commit(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        r.broker.store.writer._commit_seconds = 1.0  # a slow disk: commits leave this thread
        executor = r.broker.executor
        sent = ann.post("mail.send", to="bob", body="first")
        executor.run()
        assert executor.committing
        assert sent not in answers(ann)
        assert bob.mail() == []
        next_one = ann.post("mail.send", to="bob", body="second")
        batches = executor.batches
        executor.run()
        assert executor.batches == batches, "one batch at a time"
        await r.settle()
        assert (code(ann, sent), code(ann, next_one)) == ("ok", "ok")
        assert [mail["body"] for mail in bob.mail()] == ["first", "second"]


async def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann")
        ids = many(ann, BATCH_REQUESTS + 10)
        ann.line.frames.clear()
        batch(r)
        assert answers(ann) == ids[:BATCH_REQUESTS]
        batch(r)
        assert answers(ann) == ids


async def test_a_batch_has_a_bound_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann")
        monkeypatch.setattr(executor_module, "BATCH_BYTES", 1_250 * SHARE)
        ids = many(ann, 3 * SHARE, "mail.send", to="ann", body="x" * 1_000)
        ann.line.frames.clear()
        batch(r)
        assert answers(ann) == ids[: 2 * SHARE], "what was begun with is taken whole"


async def test_a_batch_has_a_bound_of_deliveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann")
        bob = await r.join("bob", role="service", capacity=100)
        monkeypatch.setattr(executor_module, "BATCH_PUSHES", SHARE)
        many(ann, 2 * SHARE, "mail.send", to="bob", body=1)
        batch(r)
        assert len(bob.mail()) == SHARE
        await r.settle()
        assert len(bob.mail()) == SHARE


async def test_connections_are_served_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob")
        loud, quiet = many(ann, 5 * SHARE), many(bob, 2)
        ann.line.frames.clear()
        bob.line.frames.clear()
        monkeypatch.setattr(executor_module, "BATCH_REQUESTS", SHARE + 2)
        batch(r)
        assert answers(ann) == loud[:SHARE]
        assert answers(bob) == quiet
        await r.settle()
        assert answers(ann) == loud


async def test_who_goes_away_takes_only_what_ends_work(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await ann.ask("mail.send", to="ann", body=1)
        (mail,) = ann.mail()
        r.broker.executor.drain()
        await r.settle()
        assert r.broker.executor.draining
        error = await ann.refused("draining", "mail.send", to="ann", body=2)
        assert error["retry_after_ms"] > 0
        await ann.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        assert r.broker.ready() == (False, "draining\n")


# -- reads -----------------------------------------------------------------------------------------


async def test_a_read_holds_up_only_its_own_connection(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner, bob = await r.join("owner"), await r.join("bob")
        owner.line.frames.clear()
        bob.line.frames.clear()
        read, after = owner.post("broker.stats"), owner.post("mail.send", to="bob", body=1)
        other = bob.post("mail.send", to="bob", body=2)
        executor = r.broker.executor
        batch(r)
        assert executor.looks == 1
        assert answers(bob) == [other]
        assert answers(owner) == []
        batch(r)
        assert answers(owner) == [], "what was asked after a read waits for it"
        await r.settle()
        assert answers(owner) == [read, after]
        assert code(owner, after) == "ok"
        assert executor.looks == 0


async def test_reads_keep_the_order_of_answers(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        owner.line.frames.clear()
        ids = [owner.post(op) for op in ("group.list", "broker.stats", "mail.list", "group.list")]
        await r.settle()
        assert answers(owner) == ids


async def test_a_refused_read_holds_up_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann")
        ann.line.frames.clear()
        ids = [ann.post("mail.trace", message="m99999"), ann.post("group.list")]
        await r.settle()
        assert answers(ann) == ids
        assert [code(ann, id) for id in ids] == ["not_found", "ok"]


# -- a storage that fails --------------------------------------------------------------------------


async def test_a_fault_makes_the_whole_batch_unavailable(tmp_path: Path) -> None:
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        ann, bob = await r.join("ann", role="service"), await r.join("bob", role="service")
        await ann.ask("mail.send", to="bob", body=0)
        before = remembered(r.broker.house), stored(r)
        ann.events(), bob.events()
        disk.full = True
        ids = [
            ann.post("mail.send", to="bob", body=1, key="k"),
            ann.post("group.join", group="#news"),
            ann.post("peer.watch", on=True),
        ]
        sent = bob.post("mail.send", to="ann", body=2)
        bob.write(b'{"op":"nonsense","id":"bad"}')
        await r.settle()
        assert [code(ann, id) for id in ids] == ["unavailable"] * 3
        error = bob.reply(sent)["error"]
        assert error["retryable"]
        assert error["retry_after_ms"] == RETRY_MS
        (bad,) = [frame for frame in bob.line.frames if frame.get("re") == "bad"]
        assert bad["error"]["code"] == "unknown_op"
        assert ann.events() + bob.events() == []
        assert (remembered(r.broker.house), stored(r)) == before
        assert not r.broker.failed.done(), "a full disk can become well again"


async def test_not_ready_while_the_storage_is_ill_and_well_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        ann = await r.join("ann")
        disk.full = True
        with caplog.at_level(logging.WARNING, LOGGER):
            for _ in range(3):
                await ann.refused("unavailable", "mail.send", to="ann", body=1, key="k")
            assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
            ready, why = r.broker.ready()
            assert not ready
            assert "disk is full" in why
            await r.advance(5 * RETRY_MS)
            assert not r.broker.ready()[0]
            disk.full = False
            await r.advance(RETRY_MS)
            assert r.broker.ready() == (True, "ready\n")
            assert caplog.messages[-1] == "the storage is well again"
        sent = await ann.ask("mail.send", to="ann", body=1, key="k")
        assert not sent.get("duplicate"), "nothing of the failed ones was kept"


async def test_jobs_are_done_again_after_a_fault_in_their_order(tmp_path: Path) -> None:
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        done: list[str] = []

        def job(name: str) -> None:
            def work(turn: Turn) -> None:
                done.append(name)
                turn.run("PRAGMA user_version = 1")

            r.broker.executor.submit(work)

        disk.full = True
        job("one")
        job("two")
        await r.settle()
        assert done == ["one", "two"]
        await r.advance(RETRY_MS - 1)
        assert done == ["one", "two"], "not at once"
        disk.full = False
        await r.advance(1)
        assert done == ["one", "two", "one", "two"]
        await r.advance(5 * RETRY_MS)
        assert len(done) == 4


async def test_a_fault_before_the_commit(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        ann = await r.join("ann")
        before = remembered(r.broker.house), stored(r)
        storage.fail(full, times=1, only="BEGIN")
        await ann.refused("unavailable", "group.join", group="#news")
        assert storage.failed == 1
        assert (remembered(r.broker.house), stored(r)) == before
        await r.advance(RETRY_MS)
        assert r.broker.ready()[0]


async def test_a_failed_write_at_commit_ends_the_process_after_the_answers(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        ann = await r.join("ann")
        told: list[list[Any]] = []
        r.broker.executor._fatal = lambda _: told.append(answers(ann))
        storage.fail(broken, times=1, only="COMMIT")
        id = ann.post("mail.send", to="ann", body=1)
        batch(r)
        assert code(ann, id) == "unavailable"
        assert len(told) == 1
        assert told[0][-1] == id


async def test_a_failed_write_before_the_commit_is_not_the_end(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        ann = await r.join("ann")
        storage.fail(broken, times=1, only="BEGIN")
        await ann.refused("unavailable", "mail.send", to="ann", body=1)
        assert not r.broker.failed.done()


# -- a broker that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [sqlite3.IntegrityError("UNIQUE failed"), ZeroDivisionError("a slip")]
)
async def test_one_faulty_request_fails_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        disturbed = Disturbed(monkeypatch, error)
        bodies = ("one", "fails", "two")
        ids = [ann.post("mail.send", to="bob", body=body, key=body) for body in bodies]
        other = bob.post("mail.send", to="bob", body="three")
        with caplog.at_level(logging.ERROR, LOGGER):
            await r.settle()
        assert [code(ann, id) for id in ids] == ["ok", "internal", "ok"]
        assert not ann.reply(ids[1])["error"]["retryable"]
        assert code(bob, other) == "ok"
        assert [mail["body"] for mail in bob.mail()] == ["one", "two", "three"]
        assert r.rows("SELECT count(*) FROM messages") == [(3,)]
        assert "a request failed: this is a fault of the broker" in caplog.messages
        assert str(error) in caplog.text
        assert r.broker.ready()[0], "the storage is well"
        assert disturbed.calls == ["one", "fails", "one", "fails", "two", "three"]
        monkeypatch.undo()
        sent = await ann.ask("mail.send", to="bob", body="fails", key="fails")
        assert not sent.get("duplicate")


async def test_a_constraint_that_shows_at_the_end_of_the_batch(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        ann = await r.join("ann")
        storage.fail(constraint, times=2, only="COMMIT")  # the batch, then its first request
        ids = many(ann, 3, "mail.send", to="ann", body=1)
        await r.settle()
        assert [code(ann, id) for id in ids] == ["internal", "ok", "ok"]
        assert r.rows("SELECT count(*) FROM messages") == [(2,)]


async def test_the_storage_fails_while_the_requests_run_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        ann = await r.join("ann")
        Disturbed(monkeypatch, ZeroDivisionError("a slip"))
        storage.fail(full, only="COMMIT", times=1)
        ids = [ann.post("mail.send", to="ann", body=body) for body in ("one", "fails", "two")]
        await r.settle()
        assert [code(ann, id) for id in ids] == ["unavailable", "internal", "ok"]
        assert r.rows("SELECT count(*) FROM messages") == [(1,)]
        assert not r.broker.ready()[0]
        assert any(text.startswith("the storage failed") for text in caplog.messages)
        await r.advance(RETRY_MS)
        assert r.broker.ready()[0]


async def test_a_sweep_that_raises_stays_due_and_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    instants: list[int] = []

    def sweep(turn: Turn) -> None:
        instants.append(turn.now)
        if len(instants) <= 4:
            raise ZeroDivisionError("a sweep that slips")

    monkeypatch.setattr(operations, "sweeps", [sweep, *operations.sweeps])
    async with rig(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await ann.ask("mail.send", to="ann", body="late", delay_ms=100)
        instants.clear()
        caplog.clear()
        due = r.clock.now() + 100
        with caplog.at_level(logging.ERROR, LOGGER):
            await r.advance(100)
        assert [mail["body"] for mail in ann.mail()] == ["late"], "the other sweeps are done"
        assert instants == [due, due], "in the batch, then alone"
        assert "a sweep that slips" in caplog.text
        await r.advance(2 * RETRY_MS)
        assert instants[2:5] == [due + RETRY_MS, due + RETRY_MS, due + 2 * RETRY_MS]


async def test_a_job_that_raises_is_not_done_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(tmp_path) as r:
        done: list[str] = []

        def slips(turn: Turn) -> None:
            turn.enter(r.broker.house.meshes, "half", None)
            done.append("slips")
            raise ZeroDivisionError("a job that slips")

        r.broker.executor.submit(slips)
        r.broker.executor.submit(lambda _: done.append("good"))
        with caplog.at_level(logging.ERROR, LOGGER):
            await r.advance(10 * RETRY_MS)
        assert done == ["slips", "slips", "good"]
        assert "half" not in r.broker.house.meshes
        assert "a job that slips" in caplog.text


async def test_what_is_left_to_do_is_done_in_a_later_batch(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        seen: list[int] = []

        def step(turn: Turn) -> None:
            seen.append(r.broker.executor.batches)
            if len(seen) < 3:
                turn.again.append(step)

        first = r.broker.executor.batches
        r.broker.executor.submit(step)
        await r.settle()
        assert seen == [first, first + 1, first + 2]


async def test_a_long_part_that_ends_in_a_read_is_answered_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        owner.line.frames.clear()
        ids = [*many(owner, 2 * SHARE + 1), owner.post("mail.list"), owner.post("group.list")]
        await r.settle()
        assert answers(owner) == ids


async def test_a_read_under_way_keeps_its_id(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        owner.line.frames.clear()
        read = msgspec.json.encode({"op": "mail.list", "id": "same"})
        owner.write(read)
        batch(r)
        assert r.broker.executor.looks == 1
        owner.write(read)
        await r.settle()
        first, second = owner.line.frames
        assert first["ok"] == {"deliveries": [], "next": None}
        assert second["error"]["code"] == "bad_request"
        owner.write(read)
        await r.settle()
        assert "ok" in owner.line.frames[-1]


async def test_a_read_that_the_storage_could_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")

        def broken_disk(_: Any) -> Any:
            raise broken()

        with monkeypatch.context() as patch:
            looking = Looking(broken_disk)
            patch.setattr(operations.table[ListMail], "function", lambda *_: looking)
            await owner.refused("unavailable", "mail.list")
        assert not r.broker.ready()[0]
        assert not r.broker.failed.done()
        await r.advance(RETRY_MS)
        assert r.broker.ready()[0]
        await owner.ask("mail.list")


async def test_nothing_is_written_after_a_commit_that_was_not_synced(tmp_path: Path) -> None:
    """The disk may well take the next commit, but what it holds by then is anybody's guess."""
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        first = many(ann, BATCH_REQUESTS, "mail.send", to="bob", body=1)
        waiting = [*many(ann, 20, "mail.send", to="bob", body=2)]
        last = bob.post("mail.send", to="ann", body=3)
        storage.fail(broken, times=1, only="COMMIT")
        batch(r)
        assert r.broker.failed.done()
        storage.watch()
        await r.settle()
        assert {code(ann, id) for id in (*first, *waiting)} == {"unavailable"}
        assert code(bob, last) == "unavailable"
        await bob.lose()
        await r.advance(10 * RETRY_MS)
        assert not r.broker.ready()[0]
        assert storage.ran == []
        assert r.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_what_is_due_does_not_pile_up_while_the_storage_is_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    monkeypatch.setattr(
        operations, "sweeps", [lambda turn: done.append(turn.now), *operations.sweeps]
    )
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        ann = await r.join("ann")
        disk.full = True
        await ann.refused("unavailable", "mail.send", to="ann", body=1)
        for _ in range(20):
            done.clear()
            await r.advance(RETRY_MS)
            assert done == [r.clock.now()]
        disk.full = False
        done.clear()
        await r.advance(RETRY_MS)
        assert done == [r.clock.now()]
        assert r.broker.ready()[0]


@pytest.mark.parametrize(
    "error",
    [
        OverflowError("Python int too large to convert to SQLite INTEGER"),
        fault(sqlite3.OperationalError, sqlite3.SQLITE_ERROR, "no such column: x"),
        sqlite3.ProgrammingError("Incorrect number of bindings supplied"),
    ],
)
@pytest.mark.parametrize("slow", [False, True])
async def test_a_value_that_the_storage_cannot_take_harms_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool, error: Exception
) -> None:
    """It shows only when what was collected is written, which is at the end of the batch."""
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob")
        writer, flush = r.broker.store.writer, Writer.flush
        writer._commit_seconds = 1.0 if slow else 0.0

        def flushed(writer: Writer) -> None:
            rows = [row for rows in writer._pending.values() for row in rows]
            if any(b'"poison"' in row for row in rows):
                raise error
            flush(writer)

        monkeypatch.setattr(Writer, "flush", flushed)
        good = ann.post("mail.send", to="ann", body=1)
        bad = bob.post("mail.send", to="bob", body="poison")
        other = ann.post("mail.send", to="ann", body=2)
        await r.settle()
        assert [code(ann, good), code(bob, bad), code(ann, other)] == ["ok", "internal", "ok"]
        assert r.broker.ready()[0]
        assert (await bob.ask("mail.send", to="bob", body=3))["total"] == 1


async def test_after_a_slow_commit_it_is_looked_what_became_due(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann")
        r.broker.store.writer._commit_seconds = 1.0
        executor, scheduled = r.broker.executor, asyncio.Event()
        ann.post("mail.send", to="ann", body=1)
        executor.run()
        assert executor.committing
        executor._schedule = scheduled.set
        async with asyncio.timeout(30):
            await scheduled.wait()
