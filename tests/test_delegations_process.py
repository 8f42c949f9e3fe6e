"""The storm over real sockets and a real process, which is killed in the middle: at most a minute.

Everybody here repeats what was not answered, and reconnects when the connection is gone, as clients
do. What they are told more than once they count once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

WORKERS: Final = ("ada", "ben", "cid", "dot")
STORM: Final = 40
READY_SECONDS: Final = 15
STORM_SECONDS: Final = 40
PAUSE: Final = 0.02  # between two tries to connect
WORK: Final = 0.02  # how long a task takes, so that the kill comes in the middle


class Gone(Exception):  # noqa: N818 - an outcome that everybody here lives with
    """The connection is gone; what was asked may or may not have been done."""


class BrokerProcess:
    """The broker as a process that can be killed and started again at the same address."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: asyncio.subprocess.Process
        self.url = ""

    async def start(self) -> None:
        """Start it and wait until it accepts connections."""
        port = self.url.rpartition(":")[2].split("/")[0] or "0"
        settings = ("mail.lease_ms=2000", "mail.backoff_ms=100")
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "broker", "serve", "--port", port),
            *("--data", str(self.directory)),
            *(word for setting in settings for word in ("--set", setting)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), READY_SECONDS)
        assert line.startswith(b"postroom ready "), "the broker has not started"
        self.url = line.decode().split()[-1]

    async def kill(self) -> None:
        """End it as by kill -9."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


class Caller:
    """A member that talks to the broker over one connection after another."""

    def __init__(self, broker: BrokerProcess, member: str, token: str, capacity: int) -> None:
        self.broker = broker
        self.member = member
        self.token = token
        self.capacity = capacity
        self.resume: str | None = None
        self.socket: ClientConnection | None = None
        self.mail: list[dict[str, Any]] = []
        self._ids = itertools.count()

    async def join(self) -> None:
        """Connect, as often as it takes."""
        while self.socket is None:
            try:
                self.socket = await connect(self.broker.url, compression=None)
                hello = {"member": self.member, "token": self.token, "role": "service"}
                welcome = await self.ask(
                    "hello", **hello, capacity=self.capacity, resume=self.resume
                )
                self.resume = welcome["ok"]["resume"]
            except (OSError, InvalidHandshake, Gone):
                self.socket = None
                await asyncio.sleep(PAUSE)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask and wait for the answer; deliveries that come before it are kept."""
        id = next(self._ids)
        try:
            assert self.socket is not None
            await self.socket.send(msgspec.json.encode({"op": op, "id": id, **fields}).decode())
            while True:
                frame: dict[str, Any] = msgspec.json.decode(await self.socket.recv())
                if frame.get("re") == id:
                    return frame
                self._keep(frame)
        except ConnectionClosed as closed:
            self.socket = None
            raise Gone from closed

    async def hear(self) -> dict[str, Any]:
        """The next delivery."""
        try:
            while not self.mail:
                assert self.socket is not None
                self._keep(msgspec.json.decode(await self.socket.recv()))
        except ConnectionClosed as closed:
            self.socket = None
            raise Gone from closed
        return self.mail.pop(0)

    def _keep(self, frame: dict[str, Any]) -> None:
        if frame["ev"] == "mail.deliver":
            self.mail.append(frame)

    async def ack(self, mail: dict[str, Any]) -> None:
        """Say that it is done with; an old claim is good for nothing."""
        answer = await self.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        assert "ok" in answer or answer["error"]["code"] == "stale_claim", answer

    def lose(self) -> None:
        """Die with what is in hand."""
        if self.socket is not None:
            self.socket.transport.abort()
        self.mail.clear()


async def work(worker: Caller) -> None:
    """Do one thing after the other, for ever."""
    while True:
        await worker.join()
        with contextlib.suppress(Gone):
            mail = await worker.hear()
            delegation = {"delegation": mail["body"]["delegation"]}
            await worker.ask("delegation.update", status="in_progress", **delegation)
            await asyncio.sleep(WORK)
            result = mail["body"]["task"]
            await worker.ask("delegation.update", status="completed", result=result, **delegation)
            await worker.ack(mail)


Told = dict[str, set[tuple[str, int]]]
"""Of each delegation the mails about its end, with the results in them."""


async def lead(leader: Caller, asked: asyncio.Event, told: Told) -> None:
    """Ask for everything, then wait until all of it is told."""
    todo = list(range(STORM))
    while todo:
        await leader.join()
        with contextlib.suppress(Gone):
            storm = todo[0]
            fields = {"callee": WORKERS[storm % 4], "task": storm, "send": True}
            answer = await leader.ask("delegation.open", delegation=f"s{storm}", **fields)
            assert "ok" in answer, answer
            todo.pop(0)
            if len(todo) == STORM // 2:
                asked.set()
    while len(told) < STORM:
        await leader.join()
        with contextlib.suppress(Gone):
            mail = await leader.hear()
            body = mail["body"]
            told.setdefault(body["delegation"], set()).add((mail["message"], body["result"]))
            assert (body["status"], body["late"]) == ("completed", False)
            await leader.ack(mail)


async def found(broker: BrokerProcess) -> dict[str, str]:
    """The tokens of everybody."""
    token = (broker.directory / "owner.token").read_text().strip()
    owner = Caller(broker, "owner", token, 0)
    await owner.join()
    tokens = {"owner": token}
    for member in ("leader", *WORKERS):
        tokens[member] = (await owner.ask("member.add", member=member))["ok"]["token"]
    assert owner.socket is not None
    await owner.socket.close()
    return tokens


async def trouble(broker: BrokerProcess, victim: Caller, asked: asyncio.Event, told: Told) -> None:
    """A worker is killed, then the broker, then the worker again: in the middle of it all."""
    await asked.wait()
    victim.lose()
    await asyncio.sleep(3 * WORK)
    await broker.kill()
    await broker.start()
    await asyncio.sleep(3 * WORK)
    assert len(told) < STORM
    victim.lose()


@pytest.mark.timeout(READY_SECONDS * 2 + STORM_SECONDS + 20)
async def test_the_storm_passes_over_a_real_broker(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path)
    await broker.start()
    try:
        tokens = await found(broker)
        workers = [Caller(broker, name, tokens[name], 1) for name in WORKERS]
        leader = Caller(broker, "leader", tokens["leader"], 100)
        asked = asyncio.Event()
        told: Told = {}
        async with asyncio.timeout(STORM_SECONDS), asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(work(worker)) for worker in workers]
            troubled = tasks.create_task(trouble(broker, workers[1], asked, told))
            await lead(leader, asked, told)
            await troubled
            for task in working:
                task.cancel()
        assert told.keys() == {f"s{storm}" for storm in range(STORM)}
        for id, mails in told.items():
            assert [result for _, result in mails] == [int(id[1:])], "told once, of its own result"
        stats = (await leader.ask("delegation.stats"))["ok"]["by_status"]
        assert {status: count for status, count in stats.items() if count} == {"completed": STORM}
        assert leader.socket is not None
        await leader.socket.close()
        for worker in workers:
            worker.lose()
    finally:
        await broker.kill()
