"""A storage that fails under a whole broker: what is told, what heals, and what ends the process.

A full disk is not the end: requests are `unavailable` until it has room again. A commit of which
nobody knows whether it is on the disk is: only a start that reads the disk anew can tell.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from failing_storage import FailingStorage, broken, full
from mail_desk import desk, held, take
from rig import Peer, Rig
from test_serve import SECONDS, environment, refused, served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

BIG: Final = "x" * 200_000
RETRY_MS: Final = 1_000
READY_BUT_NORMAL: Final = (
    "ready, but store.synchronous is normal: power loss may cost the last moments\n"
)


class SmallDisk:
    """A connector. The file cannot grow while `fill` holds it as large as it is."""

    def __init__(self) -> None:
        self._writing: sqlite3.Connection | None = None

    def __call__(self, uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        if "mode=rw" in uri:
            self._writing = connection
        return connection

    def fill(self) -> None:
        self._limit(1)

    def grow(self) -> None:
        self._limit(2**30)

    def _limit(self, pages: int) -> None:
        assert self._writing is not None
        self._writing.execute(f"PRAGMA max_page_count = {pages}")  # never less than it has


async def unavailable(peer: Peer, op: str, **fields: Any) -> None:
    """This is refused for now, and says that it may be repeated, and when."""
    error = await peer.refused("unavailable", op, **fields)
    assert error["retryable"]
    assert error["retry_after_ms"] == RETRY_MS


def stored(r: Rig) -> list[tuple[Any, ...]]:
    return r.rows("SELECT count(*), total(length(body)) FROM messages")


async def test_a_file_that_cannot_grow(tmp_path: Path) -> None:
    """SQLite's own SQLITE_FULL, which takes the whole transaction back by itself."""
    disk = SmallDisk()
    async with desk(tmp_path, disk, faulty=True) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        await alice.ask("mail.send", to="bob", body="before")
        before = stored(r)
        disk.fill()
        small = alice.post("mail.send", to="bob", body="small, in the batch of a big one")
        big = alice.post("mail.send", to="bob", body=BIG)
        await r.settle()
        assert [alice.reply(id)["error"]["code"] for id in (small, big)] == ["unavailable"] * 2
        assert stored(r) == before
        ready, why = r.broker.ready()
        assert not ready
        assert "full" in why
        # What needs no room goes on: an ack frees a worker, and makes the broker well again.
        await bob.ask("mail.ack", **held(await take(bob)))
        assert r.broker.ready()[0]
        await unavailable(alice, "mail.send", to="bob", body=BIG, key="k")
        assert not r.broker.ready()[0]
        disk.grow()
        await r.advance(RETRY_MS)
        assert r.broker.ready() == (True, READY_BUT_NORMAL)
        sent = await alice.ask("mail.send", to="bob", body=BIG, key="k")
        assert not sent["duplicate"]
        assert (await take(bob))["body"] == BIG


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("only", ["COMMIT", "INSERT", "BEGIN"])
async def test_a_full_disk_heals_in_place(tmp_path: Path, only: str, gone: bool) -> None:
    """Nobody needs to ask for anything: the broker looks by itself whether it can write again."""
    storage = FailingStorage()
    async with desk(tmp_path, storage, faulty=True) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        storage.fail(full, only=only, gone=gone)
        await unavailable(alice, "mail.send", to="bob", body=1, key="k")
        assert r.broker.ready() == (
            False,
            "storage: OperationalError: database or disk is full\n",
        )
        if only != "INSERT":
            await r.advance(10 * RETRY_MS)
            assert not r.broker.ready()[0]
            await unavailable(bob, "presence.update", status="working")
        storage.heal()
        assert not r.broker.ready()[0]
        await r.advance(RETRY_MS)
        assert r.broker.ready()[0]
        assert not r.broker.failed.done()
        assert stored(r) == [(0, 0)]
        assert not (await alice.ask("mail.send", to="bob", body=1, key="k"))["duplicate"]
        assert (await alice.ask("mail.send", to="bob", body=1, key="k"))["duplicate"]
        assert (await take(bob))["body"] == 1
        assert alice.line.closed is bob.line.closed is None


async def test_while_the_disk_is_full_connections_come_go_and_look(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with desk(tmp_path, storage, faulty=True) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        sent = await alice.ask("mail.send", to="bob", body=1)
        storage.fail(full)
        await unavailable(bob, "mail.ack", **held(await take(bob)))
        assert (await alice.ask("mail.trace", message=sent["message"]))["total"] == 1
        await bob.lose()
        carol = r.connect()
        await unavailable(carol, "hello", member="alice", token=r.tokens["alice"])
        assert carol.line.closed is None
        storage.heal()
        await r.advance(RETRY_MS)
        await carol.ask("hello", member="alice", token=r.tokens["alice"])


async def test_an_error_at_the_commit_of_which_nobody_knows_how_it_ended(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with desk(tmp_path, storage, faulty=True) as r:
        alice = await r.join("alice")
        storage.fail(broken, only="INSERT")
        await unavailable(alice, "mail.send", to="alice", body=1)
        assert not r.broker.failed.done()
        storage.fail(broken, only="COMMIT")
        await r.advance(RETRY_MS)
        await unavailable(alice, "mail.send", to="alice", body=1)
        assert r.broker.failed.done()
        storage.heal()
        await r.advance(RETRY_MS)


@contextmanager
def breaking(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A broker in a process of its own whose disk will break, and its URL."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fault_broker.py")), str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONPATH=str(Path(__file__).parents[1])),
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("postroom ready "), process.communicate(timeout=SECONDS)
        yield process, ready.split()[2]
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def ask(socket: ClientConnection, **request: Any) -> dict[str, Any]:
    """Send a request; its reply."""
    socket.send(msgspec.json.encode(request), text=True)
    while True:
        frame: dict[str, Any] = msgspec.json.decode(socket.recv(timeout=SECONDS))
        if frame.get("re") == request["id"]:
            return frame


SEND: Final = {"op": "mail.send", "id": 2, "to": "owner", "body": "x", "key": "k"}


def hello(socket: ClientConnection, directory: Path) -> dict[str, Any]:
    token = (directory / "owner.token").read_text().strip()
    return ask(socket, op="hello", id=1, member="owner", token=token)


def test_an_io_error_at_a_commit_ends_the_process_after_it_has_answered(tmp_path: Path) -> None:
    with breaking(tmp_path) as (process, url):
        with connect(url, compression=None) as socket:
            assert "ok" in hello(socket, tmp_path)
            answer = ask(socket, **SEND)
            assert answer["error"]["code"] == "unavailable"
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        _, said = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
    lines = [msgspec.json.decode(line) for line in said.splitlines()]
    assert [line["message"] for line in lines if line["level"] == "critical"] == [
        "the storage cannot be relied on any more: OperationalError: disk I/O error"
    ]
    assert lines[-1]["message"] == "stopped"
    with served(tmp_path) as broker, connect(broker.url, compression=None) as socket:
        hello(socket, tmp_path)
        assert ask(socket, **SEND)["ok"]["duplicate"] is False


def test_a_second_broker_on_the_same_data(tmp_path: Path) -> None:
    with served(tmp_path) as broker, connect(broker.url, compression=None) as socket:
        assert "ok" in hello(socket, tmp_path)
        code, line = refused(tmp_path, "--port", "0")
        assert code == 1
        assert line == (
            f"postroom: the data directory {tmp_path} is in use by postroom serve, "
            f"pid {broker.process.pid}: stop that first, or name another with --data"
        )
        assert (tmp_path / "broker.url").read_text() == f"{broker.url}\n"
        assert "ok" in ask(socket, **SEND)
