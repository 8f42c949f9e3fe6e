"""The broker put together: its start on a data directory, its limits, and its way out.

In this process, but on a real loop with real sockets; the program around it is `test_serve`'s.
"""

from __future__ import annotations

import asyncio
import itertools
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from broker import app
from broker.app import Broker
from broker.clock import SystemClock
from broker.config import Settings
from broker.data import OWNER_TOKEN, open_data

SECONDS = 10.0


class Talk:
    """One connection to a broker."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        self.welcome: dict[str, Any] = {}

    async def post(self, op: str, **fields: Any) -> int:
        """Ask without waiting."""
        id = next(self._ids)
        await self.socket.send(msgspec.json.encode({"op": op, "id": id, **fields}), text=True)
        return id

    async def answer(self, id: int) -> dict[str, Any]:
        """The reply to this; events are kept."""
        found = None
        while found is None:
            for frame in await self._hear():
                if frame.get("re") == id:
                    found = frame
                else:
                    self.events.append(frame)
        return found

    async def _hear(self) -> list[dict[str, Any]]:
        """The frames of the next message."""
        message = msgspec.json.decode(await self.socket.recv())
        return message if isinstance(message, list) else [message]

    async def event(self) -> dict[str, Any]:
        """The next event."""
        while not self.events:
            self.events += await self._hear()
        return self.events.pop(0)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return await self.answer(await self.post(op, **fields))

    async def code(self, op: str, **fields: Any) -> str:
        """`ok`, or the code of the refusal."""
        answer = await self.ask(op, **fields)
        return answer["error"]["code"] if "error" in answer else "ok"

    async def closed(self) -> int | None:
        """The code with which the broker closes."""
        with suppress(ConnectionClosed):
            while True:
                self.events += await self._hear()
        return self.socket.close_code


class Running:
    """A broker that listens."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        self.broker = broker
        self.directory = directory

    @property
    def token(self) -> str:
        return (self.directory / OWNER_TOKEN).read_text(encoding="utf-8").strip()

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """A connection that has not said hello."""
        async with connect(self.broker.server.url, compression=None) as socket:
            yield Talk(socket)

    @asynccontextmanager
    async def join(self, **hello: Any) -> AsyncIterator[Talk]:
        """The owner, who has said hello."""
        async with self.talk() as talk:
            named = {"member": "owner", "token": self.token, "role": "service"}
            talk.welcome = (await talk.ask("hello", **{**named, **hello}))["ok"]
            yield talk


@asynccontextmanager
async def running(directory: Path, **settings: Any) -> AsyncIterator[Running]:
    """A broker on a directory, with settings such as `mail__lease_ms=5000`."""
    chosen = Settings.of({name.replace("__", "."): value for name, value in settings.items()})
    store = await open_data(directory, chosen)
    broker = Broker(store, chosen, SystemClock())
    broker.begin(directory)
    await broker.server.listen("127.0.0.1", 0)
    try:
        async with asyncio.timeout(SECONDS):
            yield Running(broker, directory)
    finally:
        broker.server.close_all(1001, "the test is over")
        await broker.server.closed(1)
        broker.server.stop_accepting()
        broker.pump.stop()
        await store.close()


async def test_the_first_start_makes_the_mesh_and_its_owner(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        file = tmp_path / OWNER_TOKEN
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not (tmp_path / f"{OWNER_TOKEN}.new").exists()
        async with one.join() as owner:
            (mesh,) = (await owner.ask("mesh.list"))["ok"]["meshes"]
            assert (mesh["mesh"], mesh["members"]) == ("default", 1)
        token = one.token
    async with running(tmp_path) as two:
        assert two.token == token, "only the first start makes one"
        async with two.join():
            assert two.broker.house.incarnation == 2


async def test_a_start_that_died_before_its_first_commit(tmp_path: Path) -> None:
    """The token was written, and nobody knows it: the next start makes another."""
    store = await open_data(tmp_path, Settings())
    try:
        broker = Broker(store, Settings(), SystemClock())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(store.writer), "commit", lambda _: None)
            broker.begin(tmp_path)
        broker.pump.stop()
    finally:
        await store.close()
    lost = (tmp_path / OWNER_TOKEN).read_text(encoding="utf-8").strip()
    async with running(tmp_path) as one, one.join():
        assert one.token != lost
        async with one.talk() as talk:
            assert await talk.code("hello", member="owner", token=lost) == "unauthorized"


async def test_mail_goes_over_the_wire(tmp_path: Path) -> None:
    async with running(tmp_path) as one, one.join(batch=True) as owner:
        assert await owner.code("mail.send", to="owner", body={"a": [1, None]}) == "ok"
        mail = await owner.event()
        assert (mail["ev"], mail["body"]) == ("mail.deliver", {"a": [1, None]})
        held = {"delivery": mail["delivery"], "claim": mail["claim"]}
        assert (await owner.ask("mail.ack", **held))["ok"]["state"] == "acked"


async def test_what_is_due_happens_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as one, one.join() as owner:
        assert await owner.code("mail.send", to="owner", body=1, delay_ms=50) == "ok"
        assert owner.events == []
        assert (await owner.event())["body"] == 1


async def test_how_many_may_be_there(tmp_path: Path) -> None:
    async with running(tmp_path, limits__connections=3, limits__unauthenticated=2) as one:
        async with one.talk() as first, one.talk():
            with pytest.raises(InvalidStatus) as refused:
                await connect(one.broker.server.url)
            assert refused.value.response.status_code == 503
            hello = {"member": "owner", "token": one.token, "role": "service"}
            assert await first.code("hello", **hello) == "ok"
            async with one.talk():
                with pytest.raises(InvalidStatus) as refused:
                    await connect(one.broker.server.url)
                assert refused.value.response.status_code == 503
        while one.broker.strangers:  # noqa: ASYNC110 - the sockets' ends are on their way
            await asyncio.sleep(0)
        async with one.talk(), one.talk():
            pass


async def test_who_says_no_hello_is_no_stranger_for_ever(tmp_path: Path) -> None:
    async with running(tmp_path, presence__hello_ms=50) as one, one.talk() as talk:
        assert len(one.broker.strangers) == 1
        assert await talk.closed() == 4408
        while one.broker.strangers:  # noqa: ASYNC110 - the socket's end is on its way
            await asyncio.sleep(0)


async def test_ready_says_how_durable_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        assert one.broker.ready() == (True, "ready\n")
    async with running(tmp_path, store__synchronous="normal") as one:
        ready, why = one.broker.ready()
        assert ready
        assert "power loss" in why


async def test_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in hand can be finished, nothing new begins, and whoever waits is not kept waiting."""
    monkeypatch.setattr(app, "LINGER_SECONDS", 0.2)
    async with running(tmp_path) as one, one.join() as worker, one.join(capacity=0) as puller:
        assert await worker.code("mail.send", to="owner", body=1) == "ok"
        mail = await worker.event()
        waiting = await puller.post("mail.claim", wait_ms=60_000)
        assert await puller.code("group.list") == "ok"
        leaving = asyncio.ensure_future(one.broker.drain())
        assert (await puller.answer(waiting))["ok"] == {"deliveries": []}
        assert one.broker.ready() == (False, "draining\n")
        assert await puller.code("mail.claim", wait_ms=60_000) == "draining"
        assert await worker.code("mail.send", to="owner", body=2) == "draining"
        assert await worker.code("mail.list") == "ok"
        with pytest.raises((OSError, InvalidStatus)):
            await connect(one.broker.server.url)
        held = {"delivery": mail["delivery"], "claim": mail["claim"]}
        outputs = [{"to": "owner", "body": "done"}]
        assert await worker.code("mail.ack", **held, outputs=outputs) == "ok"
        assert await worker.closed() == await puller.closed() == 1001
        await leaving
        assert one.broker.server.connections == 0
    resume = worker.welcome["resume"]
    async with running(tmp_path) as two, two.join(resume=resume) as again:
        assert again.welcome["resumed"]
        assert (await again.event())["body"] == "done", "it stayed with its holder"


async def test_the_way_out_does_not_wait_for_who_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(app, "CLOSE_SECONDS", 0.1)
    async with running(tmp_path) as one, one.join() as deaf:
        deaf.socket.transport.pause_reading()
        for _ in range(20):
            await deaf.post("mail.send", to="owner", body="x" * 200_000)
        await one.broker.drain()
        assert one.broker.server.connections == 0
        deaf.socket.transport.abort()


async def test_nobody_there_is_the_quick_way_out(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        began = asyncio.get_running_loop().time()
        await one.broker.drain()
        assert asyncio.get_running_loop().time() - began < app.LINGER_SECONDS
