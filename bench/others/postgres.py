"""The driver for a queue table in PostgreSQL, claimed with FOR UPDATE SKIP LOCKED, over asyncpg.

Owns: the table, its three statements, a connection for each sender and each receiver. Whoever
sends puts its whole window into one INSERT, which is how such a queue is made fast. A receiver is
woken by the generator itself, at no cost to the database: a real one would poll, or pay for NOTIFY.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bench.case import Job
from bench.others.library import library
from bench.traffic import RunFailed, Traffic, now_ns

START_SECONDS = 20.0
LOOK_SECONDS = 0.1
CLAIMED_AT_ONCE = 64
TABLE = """
    CREATE TABLE mail (
        id bigserial PRIMARY KEY,
        mailbox int NOT NULL,
        body text NOT NULL,
        claimed_at timestamptz
    );
    CREATE INDEX mail_ready ON mail (mailbox, id) WHERE claimed_at IS NULL;
"""
SEND = "INSERT INTO mail (mailbox, body) SELECT * FROM unnest($1::int[], $2::text[])"
CLAIM = """
    UPDATE mail SET claimed_at = now()
    WHERE id IN (
        SELECT id FROM mail WHERE mailbox = $1 AND claimed_at IS NULL
        ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, body
"""
ACK = "DELETE FROM mail WHERE id = ANY($1::bigint[])"
LEFT = "SELECT count(*) FROM mail"


class Driver:
    """Runs a case over connections of asyncpg."""

    def __init__(self, job: Job, traffic: Traffic) -> None:
        self._asyncpg = library("asyncpg")
        self._job = job
        self._traffic = traffic
        case = job.case
        self._connections: list[Any] = []
        self._sending: list[Any] = []
        self._receiving: dict[int, Any] = {}
        self._numbers: list[list[int]] = [[] for _ in range(case.senders)]
        self._wake_sender = [asyncio.Event() for _ in range(case.senders)]
        self._wake_receiver = [asyncio.Event() for _ in range(case.peers)]
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the table, connect everybody, let the receivers claim."""
        case = self._job.case
        for index in range(case.senders):
            self._sending.append(await (self._connect() if index else self._first()))
        for index in range(case.senders if case.receivers else 0, case.peers):
            self._receiving[index] = await self._connect()
        for index in range(case.senders):
            self._spawn(self._send_on(index, await self._sending[index].prepare(SEND)))
        for index, connection in self._receiving.items():
            claim, ack = await connection.prepare(CLAIM), await connection.prepare(ACK)
            self._spawn(self._receive(index, claim, ack))

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
            self._wake_sender[sender].set()

    async def close(self) -> list[str]:
        """Leave; the table must be empty by then."""
        for task in self._tasks:
            task.cancel()
        left: int = await (await self._connect()).fetchval(LEFT)
        for connection in self._connections:
            connection.terminate()
        return [f"the table still has {left} rows that were acked"] if left else []

    async def _first(self) -> Any:
        """The server listens a moment before it lets anybody in."""
        for _ in range(int(START_SECONDS / LOOK_SECONDS)):
            try:
                connection = await self._connect()
            except self._asyncpg.CannotConnectNowError:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await connection.execute(TABLE)
                return connection
        raise RunFailed(f"PostgreSQL let nobody in for {START_SECONDS:g} s")

    async def _connect(self) -> Any:
        connection = await self._asyncpg.connect(self._job.url)
        self._connections.append(connection)
        return connection

    async def _send_on(self, sender: int, statement: Any) -> None:
        """All that may leave goes into one statement; what is due meanwhile into the next."""
        traffic, wake = self._traffic, self._wake_sender[sender]
        while True:
            await wake.wait()
            wake.clear()
            numbers, self._numbers[sender] = self._numbers[sender], []
            targets = [traffic.target(sender) for _ in numbers]
            await statement.fetch(targets, [traffic.body(number).decode() for number in numbers])
            now = now_ns()
            for target in targets:
                self._wake_receiver[target].set()
            for number in numbers:
                traffic.stored(number, now)
                if traffic.answered_draws:
                    self.send(sender, now)

    async def _receive(self, index: int, claim: Any, ack: Any) -> None:
        traffic, wake = self._traffic, self._wake_receiver[index]
        while True:
            await wake.wait()
            wake.clear()
            rows = await claim.fetch(index, CLAIMED_AT_ONCE)
            if not rows:
                continue
            now = now_ns()
            copies = [traffic.arrived(traffic.number(body.encode()), now) for _, body in rows]
            await ack.fetch([number for number, _ in rows])
            now = now_ns()
            for copy in copies:
                traffic.settled(copy, now)
            wake.set()

    def _spawn(self, work: Any) -> None:
        # The driver owns these: `close` ends them.
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except (self._asyncpg.PostgresError, self._asyncpg.InterfaceError, OSError) as fault:
            self._traffic.fail(f"asyncpg: {fault!r}")
