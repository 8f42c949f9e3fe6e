"""The driver over our own Python client, used as an application uses it.

Owns: clients, the tasks that send through them, the handlers that ack. Must not reach below the
client's public names: what it costs is what users pay.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from bench.case import Job
from bench.peer import EVERYONE
from bench.traffic import NUMBER_DIGITS, RunFailed, Traffic, now_ns
from clients import Client, connect
from clients.errors import Closed, PostroomError

CONCURRENCY = 16
"""Handlers of each receiver that wait for the answer to their ack."""


class Driver:
    """Runs a case over our own clients."""

    def __init__(self, job: Job, traffic: Traffic) -> None:
        self._job = job
        self._traffic = traffic
        self._names = [*job.names, EVERYONE]
        self._padding = str(traffic.body(0)[1 + NUMBER_DIGITS : -1], "ascii")
        self._stack = AsyncExitStack()
        self._clients: list[Client] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect everybody and let the receivers serve."""
        case = self._job.case
        for index, (name, token) in enumerate(zip(self._job.names, self._job.tokens, strict=True)):
            receives = index >= case.senders or not case.receivers
            everyone = case.pattern == "fanout" and receives
            try:
                client = await self._stack.enter_async_context(
                    connect(
                        self._job.url,
                        member=name,
                        token=token,
                        role="service",
                        capacity=case.capacity,
                        groups=(EVERYONE,) if everyone else (),
                        reconnect=False,
                        final=None,
                    )
                )
            except PostroomError as fault:
                raise RunFailed(f"{name} could not connect: {fault}") from fault
            self._clients.append(client)
            if receives:
                self._spawn(self._receive(client, index))

    def start(self) -> None:
        """Each place in a sender's window is a task of its own."""
        case = self._job.case
        for index in range(case.senders):
            for _ in range(case.window):
                self._spawn(self._send_on(index))

    def send(self, sender: int, due: int) -> None:
        """One message that was due at an instant."""
        number = self._traffic.take(sender, due)
        if number >= 0:
            self._spawn(self._send(sender, number))

    async def close(self) -> list[str]:
        """Stop serving and leave in order."""
        for client in self._clients:
            client.stop()
        await self._stack.aclose()
        return []

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Closed:
            return
        except PostroomError as fault:
            self._traffic.fail(f"the client failed: {fault}")

    async def _send_on(self, sender: int) -> None:
        while (number := self._traffic.take(sender, now_ns())) >= 0:
            await self._send(sender, number)
            if not self._traffic.answered_draws:
                return

    async def _send(self, sender: int, number: int) -> None:
        traffic = self._traffic
        target = self._names[traffic.target(sender)]
        body = f"{number:0{NUMBER_DIGITS}}{self._padding}"
        await self._clients[sender].mail.send(target, body)
        traffic.stored(number, now_ns())
        traffic.check()

    async def _receive(self, client: Client, index: int) -> None:
        traffic = self._traffic

        async def handle(mail: Any) -> None:
            copy = traffic.arrived(int(mail.body[:NUMBER_DIGITS]), now_ns(), index)
            await mail.ack()
            traffic.settled(copy, now_ns())
            traffic.check()

        await client.serve(handle, concurrency=CONCURRENCY)
