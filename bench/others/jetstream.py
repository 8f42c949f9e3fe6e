"""The driver for NATS JetStream: one work-queue stream, a subject and a durable consumer each.

Owns: publishing with a reply subject of our own, which costs less than the library's future for
every publish; confirmed is what the stream has answered. Acks are not confirmed, as is the custom.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bench.case import Job
from bench.others.library import library
from bench.traffic import RunFailed, Traffic, now_ns

STREAM = "MAIL"
ACK_WAIT_SECONDS = 60.0
EMPTY_SECONDS = 5.0
"""Unconfirmed acks are given this long to have emptied the stream."""


class Driver:
    """Runs a case over connections of nats-py."""

    def __init__(self, job: Job, traffic: Traffic) -> None:
        self._nats = library("nats")
        self._api = library("nats.js.api")
        if job.url.startswith("ws:"):
            library("aiohttp")
        self._job = job
        self._traffic = traffic
        self._connections: list[Any] = []
        self._inboxes: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the stream, connect everybody, let the receivers consume."""
        case = self._job.case
        for index in range(case.peers):
            connection = await self._nats.connect(
                self._job.url, allow_reconnect=False, error_cb=self._error, pending_size=2**24
            )
            self._connections.append(connection)
            context = connection.jetstream()
            if index == 0:
                await context.add_stream(
                    name=STREAM,
                    subjects=["mail.*"],
                    retention=self._api.RetentionPolicy.WORK_QUEUE,
                    storage=self._api.StorageType.FILE,
                )
            self._inboxes.append(connection.new_inbox())
            await connection.subscribe(self._inboxes[index] + ".*", cb=self._confirmed)
            if index >= case.senders or not case.receivers:
                await context.subscribe(
                    f"mail.{index}",
                    durable=f"peer{index}",
                    cb=self._received,
                    manual_ack=True,
                    config=self._api.ConsumerConfig(
                        max_ack_pending=case.capacity, ack_wait=ACK_WAIT_SECONDS
                    ),
                )

    def start(self) -> None:
        """Fill every sender's window."""
        for sender in range(self._job.case.senders):
            for _ in range(self._job.case.window):
                self.send(sender, now_ns())

    def send(self, sender: int, due: int) -> None:
        """One message that was due at an instant."""
        number = self._traffic.take(sender, due)
        if number >= 0:
            self._spawn(self._publish(sender, number))

    async def close(self) -> list[str]:
        """Leave; the stream must be empty by then."""
        left = 0
        for connection in self._connections:
            await connection.flush()
        for _ in range(int(EMPTY_SECONDS / 0.1)):
            info = await self._connections[0].jetstream().stream_info(STREAM)
            left = info.state.messages
            if not left:
                break
            await asyncio.sleep(0.1)
        for connection in self._connections:
            await connection.close()
        return [f"the stream still has {left} messages that were acked"] if left else []

    async def _publish(self, sender: int, number: int) -> None:
        await self._connections[sender].publish(
            f"mail.{self._traffic.target(sender)}",
            self._traffic.body(number),
            reply=f"{self._inboxes[sender]}.{number}",
        )

    async def _confirmed(self, message: Any) -> None:
        now = now_ns()
        if b'"error"' in message.data or message.headers:
            self._traffic.fail(f"JetStream refused: {message.data!r} {message.headers}")
            return
        sender = self._traffic.stored(int(message.subject.rpartition(".")[2]), now)
        if self._traffic.answered_draws and (number := self._traffic.take(sender, now)) >= 0:
            await self._publish(sender, number)

    async def _received(self, message: Any) -> None:
        traffic = self._traffic
        copy = traffic.arrived(traffic.number(message.data), now_ns())
        await message.ack()
        traffic.settled(copy, now_ns())

    async def _error(self, fault: Exception) -> None:
        failed = RunFailed(f"nats-py: {fault!r}")
        self._traffic.fail(str(failed))

    def _spawn(self, work: Any) -> None:
        # The driver keeps these: each is one publish, and ends with it.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
