"""The driver for Redis streams: a stream and a group for each receiver, over redis-py.

Owns: the commands. Whoever sends puts its whole window into one pipeline, and a receiver acks all
that one read brought with one command, which is how streams are made fast.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bench.case import Job
from bench.others.library import library
from bench.traffic import Traffic, now_ns

READ_AT_ONCE = 64
GROUP = "readers"
FOREVER_MS = 0


class Driver:
    """Runs a case over connections of redis-py, one for each sender and each receiver."""

    def __init__(self, job: Job, traffic: Traffic) -> None:
        self._redis = library("redis.asyncio")
        self._faults = library("redis.exceptions")
        self._job = job
        self._traffic = traffic
        case = job.case
        self._sending: list[Any] = []
        self._receiving: dict[int, Any] = {}
        self._numbers: list[list[int]] = [[] for _ in range(case.senders)]
        self._wake = [asyncio.Event() for _ in range(case.senders)]
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect everybody, make the streams, let the receivers read."""
        case = self._job.case
        for index in range(case.senders):
            self._sending.append(await self._connect())
            self._spawn(self._send_on(index))
        for index in range(case.senders if case.receivers else 0, case.peers):
            connection = await self._connect()
            self._receiving[index] = connection
            await self._do(connection, "XGROUP", "CREATE", f"m{index}", GROUP, "0", "MKSTREAM")
            self._spawn(self._receive(index, connection))

    def start(self) -> None:
        """Fill every sender's window."""
        for sender in range(self._job.case.senders):
            for _ in range(self._job.case.window):
                self.send(sender, now_ns())

    def send(self, sender: int, due: int) -> None:
        """One message that was due at an instant."""
        number = self._traffic.take(sender, due)
        if number >= 0:
            self._numbers[sender].append(number)
            self._wake[sender].set()

    async def close(self) -> list[str]:
        """Leave; nothing may be pending by then."""
        for task in self._tasks:
            task.cancel()
        connection = await self._connect()
        left = 0
        for index in self._receiving:
            left += (await self._do(connection, "XPENDING", f"m{index}", GROUP))[0]
        for one in [connection, *self._sending, *self._receiving.values()]:
            await one.disconnect(nowait=True)
        return [f"the streams still have {left} entries pending that were acked"] if left else []

    async def _connect(self) -> Any:
        # The connection itself: the library's pool costs more than the command.
        pool = self._redis.ConnectionPool.from_url(self._job.url, protocol=3)
        connection = pool.make_connection()
        await connection.connect()
        return connection

    @staticmethod
    async def _do(connection: Any, *words: object) -> Any:
        await connection.send_command(*words)
        return await connection.read_response()

    async def _send_on(self, sender: int) -> None:
        """All that may leave goes into one pipeline; what is due meanwhile into the next."""
        traffic, wake, connection = self._traffic, self._wake[sender], self._sending[sender]
        while True:
            await wake.wait()
            wake.clear()
            numbers, self._numbers[sender] = self._numbers[sender], []
            commands = [
                ("XADD", f"m{traffic.target(sender)}", "*", "body", traffic.body(number))
                for number in numbers
            ]
            await connection.send_packed_command(connection.pack_commands(commands))
            for number in numbers:
                await connection.read_response()
                now = now_ns()
                traffic.stored(number, now)
                if traffic.answered_draws:
                    self.send(sender, now)

    async def _receive(self, index: int, connection: Any) -> None:
        traffic, stream = self._traffic, f"m{index}"
        read = ("XREADGROUP", "GROUP", GROUP, "me", "COUNT", READ_AT_ONCE)
        while True:
            answer = await self._do(connection, *read, "BLOCK", FOREVER_MS, "STREAMS", stream, ">")
            now = now_ns()
            entries = answer[stream.encode()]
            copies = [traffic.arrived(traffic.number(values[1]), now) for _, values in entries]
            await self._do(connection, "XACK", stream, GROUP, *[name for name, _ in entries])
            now = now_ns()
            for copy in copies:
                traffic.settled(copy, now)

    def _spawn(self, work: Any) -> None:
        # The driver owns these: `close` ends them.
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except (self._faults.RedisError, OSError) as fault:
            self._traffic.fail(f"redis-py: {fault!r}")
