"""A thread of its own for a connection: functions run there, one after the other."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from broker.store.hop import Hop
from broker.store.sqlite import connect


@pytest.fixture
async def hop() -> AsyncIterator[Hop]:
    one = Hop(lambda: connect("file::memory:"), iter_chunk_size=64)
    await one
    yield one
    await one.close()


async def test_functions_run_there_in_their_order(hop: Hop) -> None:
    ran: list[int] = []
    futures = [hop.post(partial(ran.append, number)) for number in range(50)]
    there = await hop.post(threading.get_ident)
    assert ran == list(range(50))
    assert there != threading.get_ident()
    assert await hop.post(threading.get_ident) == there
    assert all(future.done() for future in futures)


async def test_what_is_raised_there_is_raised_here_and_the_thread_lives_on(hop: Hop) -> None:
    def wrong() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await hop.post(wrong)
    assert await hop.post(lambda: 1) == 1


async def test_a_connection_that_cannot_be_made() -> None:
    def make() -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open")

    before = threading.enumerate()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await Hop(make, iter_chunk_size=64)
    assert threading.enumerate() == before, "a thread is left behind"


async def test_closing_ends_the_thread(hop: Hop) -> None:
    thread = await hop.post(threading.current_thread)
    await hop.close()
    thread.join(10)
    assert not thread.is_alive()
