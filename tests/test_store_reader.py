"""The connection that looks: one moment of the database, for so long only, no writing."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from broker.store import reader as reader_module
from broker.store.reader import Look, sizes
from broker.store.sqlite import LookTooLong, Store, StoreFault, connect, open_store

COUNT = "SELECT count(*) FROM a"
ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Store]:
    path = directory / "a.db"
    connection = connect(path.as_uri())
    connection.execute("CREATE TABLE a (x)")
    connection.close()
    store = await open_store(path, "normal")
    try:
        yield store
    finally:
        await store.close()


async def test_it_looks_elsewhere(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.writer.run("INSERT INTO a VALUES (1), (2)")
        store.writer.commit()
        rows = await store.reader.look(lambda look: look.all("SELECT x FROM a ORDER BY x"), 10)
        assert rows == [(1,), (2,)]
        asked = "SELECT x FROM a WHERE x > ?"
        assert await store.reader.look(lambda look: look.one(asked, (1,)), 10) == (2,)
        assert await store.reader.look(lambda look: look.one(asked, (2,)), 10) is None
        there = await store.reader.look(lambda _: threading.get_ident(), 10)
        assert there != threading.get_ident()


async def test_it_sees_one_moment(tmp_path: Path) -> None:
    """What is committed between two statements of a look is in neither of them."""
    looked, written = threading.Event(), threading.Event()

    def twice(look: Look) -> list[object]:
        first = look.one(COUNT)
        looked.set()
        assert written.wait(10)
        return [first, look.one(COUNT)]

    async with opened(tmp_path) as store:
        future = store.reader.look(twice, 10)
        assert looked.wait(10)
        store.writer.run("INSERT INTO a VALUES (1)")
        store.writer.commit()
        written.set()
        assert await future == [(0,), (0,)]
        assert await store.reader.look(lambda look: look.one(COUNT), 10) == (1,)


async def test_it_has_so_much_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "STEPS", 100)
    async with opened(tmp_path) as store:
        with pytest.raises(LookTooLong):
            await store.reader.look(lambda look: look.one(ENDLESS), 0.0)
        with pytest.raises(LookTooLong):
            await store.reader.look(lambda look: look.one(ENDLESS), 0.02)
        assert await store.reader.look(lambda look: look.one(COUNT), 10) == (0,)


async def test_it_writes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for sql in ("INSERT INTO a VALUES (1)", "DROP TABLE a", "CREATE TABLE b (x)"):
            change = partial(Look.all, sql=sql)
            with pytest.raises(StoreFault, match="readonly"):
                await store.reader.look(change, 10)
        assert await store.reader.look(lambda look: look.one(COUNT), 10) == (0,)


async def test_what_goes_wrong_in_it_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(StoreFault, match="no such table") as failed:
            await store.reader.look(lambda look: look.all("SELECT 1 FROM absent"), 10)
        assert not failed.value.fatal

        def wrong(look: Look) -> None:
            look.one(COUNT)
            raise KeyError("ours")

        with pytest.raises(KeyError):
            await store.reader.look(wrong, 10)
        assert await store.reader.look(lambda look: look.one(COUNT), 10) == (0,)


async def test_it_does_not_stop_who_writes(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        begun, end = threading.Event(), threading.Event()

        def long(look: Look) -> object:
            look.one(COUNT)
            begun.set()
            return end.wait(10)

        future = store.reader.look(long, 10)
        assert begun.wait(10)
        store.writer.run("INSERT INTO a VALUES (1)")
        store.writer.commit()
        end.set()
        assert await future


async def test_sizes(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.writer.run("INSERT INTO a VALUES (zeroblob(100000))")
        store.writer.commit()
        size, log = await store.reader.look(lambda look: look.size(), 10)
        assert (size, log) == sizes(store.path)
        assert size == store.path.stat().st_size
        assert log > 100_000
    assert sizes(tmp_path / "absent.db") == (0, 0)
