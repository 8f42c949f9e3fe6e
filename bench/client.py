"""The driver over our own Python client, used as an application in a hurry uses it.

Owns: clients, what sends through them, the handlers that ack. As with the clients of others, a
window is sent without a task for each message, acks are not waited for one by one, and bodies go in
and come out as bytes, which are JSON already. Must not reach below the client's public names: what
it costs is what users pay.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from msgspec import Raw

from bench.case import Job
from bench.peer import EVERYONE
from bench.traffic import RunFailed, Traffic, now_ns
from broker.wire.mail import Acked, Sent
from clients import Client, Mail, Pending, connect
from clients.errors import Closed, PostroomError


class Driver:
    """Runs a case over our own clients."""

    def __init__(self, job: Job, traffic: Traffic) -> None:
        self._job = job
        self._traffic = traffic
        self._names = [*job.names, EVERYONE]
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
        """Fill every sender's window."""
        case = self._job.case
        for sender in range(case.senders):
            for _ in range(case.window):
                self.send(sender, now_ns())

    def send(self, sender: int, due: int) -> None:
        """One message that was due at an instant."""
        traffic = self._traffic
        number = traffic.take(sender, due)
        if number < 0:
            return
        target = self._names[traffic.target(sender)]
        try:
            sending = self._clients[sender].mail.start_send(target, Raw(traffic.body(number)))
        except PostroomError as fault:
            traffic.fail(f"the client failed: {fault}")
            return
        sending.then(partial(self._stored, sender, number))

    async def close(self) -> list[str]:
        """Stop serving and leave in order."""
        for client in self._clients:
            client.stop()
        await self._stack.aclose()
        return []

    def _spawn(self, work: Any) -> None:
        # The driver owns these: they end when `close` stops their clients.
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

    def _stored(self, sender: int, number: int, sending: Pending[Sent]) -> None:
        if self._failed(sending):
            return
        traffic = self._traffic
        now = now_ns()
        traffic.stored(number, now)
        if traffic.answered_draws:
            self.send(sender, now)

    async def _receive(self, client: Client, index: int) -> None:
        traffic = self._traffic

        def handle(mail: Mail[Any]) -> None:
            copy = traffic.arrived(traffic.number(mail.raw), now_ns(), index)
            mail.start_ack().then(partial(self._settled, copy))

        await client.serve(handle)

    def _settled(self, copy: int, acking: Pending[Acked]) -> None:
        if not self._failed(acking):
            self._traffic.settled(copy, now_ns())

    def _failed(self, done: Pending[Any]) -> bool:
        """Whether it went wrong; what else an answer says is read by who wants to know it."""
        if done.fault is None:
            return False
        if not isinstance(done.fault, Closed):
            self._traffic.fail(f"the client failed: {done.fault}")
        return True
