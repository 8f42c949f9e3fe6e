"""The bare relay: a durable broker minus everything. `python -m bench.relay DIR`

Owns: the same frames, tables and commits as the broker's straight path, over the same library and
event loop, without one rule: no tokens, no limits, no queues, no presence. What the broker carries
is measured against it. Must not import the broker, but for how it opens its database and writes
rows (`tables`): its speed is the yardstick, not a copy.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec import Raw, Struct

from bench import tables
from bench.line import Line, serve

MESH = 1
LEASE_MS = 30_000
TTL_MS = 604_800_000
MAX_ATTEMPTS = 5
MAX_FRAME = 2**20


class Hello(Struct, tag_field="op", tag="hello", gc=False):
    """Who is there."""

    id: int
    member: str
    batch: bool = False


class Send(Struct, tag_field="op", tag="mail.send", gc=False):
    """A message for one member."""

    id: int
    to: str
    body: Raw
    kind: str = "message"
    priority: int = 50


class Ack(Struct, tag_field="op", tag="mail.ack", gc=False):
    """A delivery is done."""

    id: int
    delivery: str
    claim: str


class Update(Struct, tag_field="op", tag="presence.update", gc=False):
    """What our own client says before it leaves."""

    id: int


class Reply(Struct, gc=False):
    """A request that was done."""

    re: int
    ok: Any


class Copy(Struct, gc=False):
    """One delivery as the sender sees it."""

    delivery: str
    to: str
    state: str
    queued: bool
    depth: int
    transport: str


class Sent(Struct, gc=False):
    """The answer to a send."""

    message: str
    seq: int
    total: int
    deliveries: list[Copy]
    duplicate: bool


class Acked(Struct, gc=False):
    """The answer to an ack."""

    state: str
    outputs: list[Sent]
    duplicate: bool


class Deliver(Struct, tag_field="ev", tag="mail.deliver", gc=False, rename={"from_": "from"}):
    """A delivery as its recipient sees it, with every field of the protocol."""

    delivery: str
    claim: str
    message: str
    seq: int
    from_: str
    to: str
    mailbox: str
    kind: str
    priority: int
    body: Raw
    meta: Raw | None
    reply_to: str | None
    sent_at: int
    attempt: int
    claims: int
    max_attempts: int
    lease_ms: int
    claim_expires_at: int
    preempt: bool


_decode_one = msgspec.json.Decoder(Hello | Send | Ack | Update).decode
_decode_many = msgspec.json.Decoder(list[Hello | Send | Ack | Update]).decode
_encode = msgspec.json.Encoder().encode
_NO_OUTPUTS: list[Sent] = []


class Member(Line):
    """One connection, which is one member."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay
        self._batch = False
        self.number = 0
        self.name = ""
        self.replies: list[Reply] = []
        self.deliveries: list[Deliver] = []

    def message(self, data: bytes | bytearray | memoryview) -> None:
        """A frame or an array of frames."""
        for request in _decode_many(data) if data[0] == ord("[") else (_decode_one(data),):
            if isinstance(request, Hello):
                self._batch = request.batch
                self._relay.join(self, request)
            elif isinstance(request, Update):
                self.replies.append(Reply(request.id, {}))
                self.flush()
            else:
                self._relay.take(self, request)

    def flush(self) -> None:
        """Replies, then deliveries, in one write."""
        frames: list[Reply | Deliver] = [*self.replies, *self.deliveries]
        self.replies = []
        self.deliveries = []
        if self._batch and len(frames) > 1:
            self._put_array(frames)
        else:
            for frame in frames:
                self.put(_encode(frame))
        self.drain()

    def _put_array(self, frames: list[Reply | Deliver]) -> None:
        data = _encode(frames)
        if len(data) <= MAX_FRAME or len(frames) == 1:
            self.put(data)
        else:
            middle = len(frames) // 2
            self._put_array(frames[:middle])
            self._put_array(frames[middle:])


class Relay:
    """Who is there, and what waits for the next commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._members: dict[str, Member] = {}
        self._waiting: list[tuple[Member, Send | Ack]] = []
        self._next = 1

    def join(self, member: Member, request: Hello) -> None:
        """Remember who this is; nothing of it is stored."""
        member.name = request.member
        member.number = len(self._members) + 1
        self._members[request.member] = member
        answer = {
            "presence": str(member.number),
            "mesh": "default",
            "member": member.name,
            "address": member.name,
            "session": None,
            "role": "service",
            "resumed": False,
            "resume": "none",
            "lease_ms": 90_000,
            "limits": {"body": 262_144, "frame": MAX_FRAME},
            "broker": {"version": "0", "node": "relay"},
            "now_at": time.time_ns() // 1_000_000,
        }
        member.replies.append(Reply(request.id, answer))
        member.flush()

    def take(self, member: Member, request: Send | Ack) -> None:
        """Whatever is read in this turn of the loop goes into one commit in the next."""
        if not self._waiting:
            self._loop.call_soon(self._commit)
        self._waiting.append((member, request))

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        now = time.time_ns() // 1_000_000
        batch = tables.Batch()
        touched: set[Member] = set()
        for member, request in waiting:
            touched.add(member)
            if isinstance(request, Send):
                touched.add(self._send(member, request, now, batch))
            else:
                batch.acks.append(int(request.delivery))
                member.replies.append(Reply(request.id, Acked("acked", _NO_OUTPUTS, False)))
        tables.commit(self._connection, batch, now)
        for member in touched:
            member.flush()

    def _send(self, member: Member, request: Send, now: int, batch: tables.Batch) -> Member:
        receiver = self._members[request.to]
        number = self._next
        seq = number + 1
        self._next = number + 2
        lease_end = now + LEASE_MS
        end = now + TTL_MS
        body = bytearray(request.body)  # bytes would go through sqlite3's slow adaption
        own = member.number
        batch.messages.append(
            (number, MESH, own, own, member.name, request.to, body, now, MAX_ATTEMPTS)
        )
        batch.deliveries.append((seq, receiver.number, end, now, lease_end))
        message, delivery = str(number), str(seq)
        copy = Copy(delivery, receiver.name, "claimed", False, 0, "online")
        member.replies.append(Reply(request.id, Sent(message, number, 1, [copy], False)))
        receiver.deliveries.append(
            Deliver(
                delivery,
                delivery,
                message,
                seq,
                member.name,
                request.to,
                receiver.name,
                request.kind,
                request.priority,
                request.body,
                None,
                None,
                now,
                1,
                1,
                MAX_ATTEMPTS,
                LEASE_MS,
                lease_end,
                False,
            )
        )
        return receiver


async def _main(data: Path) -> None:
    relay = Relay(tables.create(data))
    # Nothing here makes cycles, and the yardstick pays for no more than the work.
    gc.disable()
    await serve(lambda: Member(relay))


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1])))
