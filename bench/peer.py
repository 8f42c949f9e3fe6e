"""A lean client of the wire for making load: raw frames, joined per loop turn, nothing kept.

Owns: what a peer says and hears, and the driver that runs a case over many of them.
Must not know our own client or the broker: it is measured beside the first, against the second.
"""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Raw, Struct

from bench.case import Job
from bench.traffic import RunFailed, Traffic, now_ns
from bench.wire import Wire

CONNECT_AT_ONCE = 50
"""Handshakes under way together: below the broker's cap on connections without a hello."""
HELLO = -1
EVERYONE = "@everyone"
"""The group that all receivers of a fan-out are in."""
HELD_AT_ONCE = 8
"""Held acks that a peer has unanswered: a thousand peers together stay below what is too many."""
NOTHING = Raw(b"")


class Incoming(Struct, gc=False):
    """What the generator reads of a frame, whatever its kind; the rest is skipped."""

    re: int | None = None
    error: Raw = NOTHING
    ev: str = ""
    delivery: str = ""
    claim: str = ""
    body: Raw = NOTHING


_decode_one = msgspec.json.Decoder(Incoming).decode
_decode_many = msgspec.json.Decoder(list[Incoming]).decode


class Peer(Wire):
    """One connection of one member. Sends and acks leave joined, once per loop turn."""

    def __init__(self, url: str, index: int, traffic: Traffic, names: list[str]) -> None:
        super().__init__(url)
        self._index = index
        self._traffic = traffic
        self._names = names
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self._held: list[bytes] = []
        self._ack = self._held.append if traffic.case.acks_after else self.queue
        traffic.delivered.add_done_callback(self._release)

    def hello(self, token: str, capacity: int, groups: tuple[str, ...]) -> None:
        """Say who this is: a service, so that mail goes to the member's own mailbox."""
        frame: dict[str, object] = {
            "op": "hello",
            "id": HELLO,
            "member": self._names[self._index],
            "token": token,
            "role": "service",
            "capacity": capacity,
            "batch": True,
        }
        if groups:
            frame["groups"] = groups
        self.queue(msgspec.json.encode(frame))

    def supply(self, now: int) -> bool:
        """Send this peer's next message, if it has one."""
        traffic = self._traffic
        number = traffic.take(self._index, now)
        if number < 0:
            return False
        name = self._names[traffic.target(self._index)].encode()
        body = traffic.body(number)
        self.queue(b'{"op":"mail.send","id":%d,"to":"%b","body":%b}' % (number << 1, name, body))
        return True

    def message(self, data: bytes, now: int) -> None:
        frames = _decode_many(data) if data[:1] == b"[" else [_decode_one(data)]
        traffic = self._traffic
        for frame in frames:
            if frame.error:
                self.fail(f"was refused: {bytes(frame.error).decode()}")
            elif frame.re is None:
                if frame.ev == "mail.deliver":
                    copy = traffic.arrived(traffic.number(bytes(frame.body)), now, self._index)
                    self._ack(
                        b'{"op":"mail.ack","id":%d,"delivery":"%b","claim":"%b"}'
                        % (copy << 1 | 1, frame.delivery.encode(), frame.claim.encode())
                    )
            elif frame.re == HELLO:
                self.greeted.set_result(None)
            elif frame.re & 1:
                traffic.settled(frame.re >> 1, now)
                if self._held and traffic.delivered.done():
                    self.queue(self._held.pop())
            else:
                traffic.stored(frame.re >> 1, now)
                if traffic.answered_draws:
                    self.supply(now)

    def _release(self, _: object) -> None:
        """Let some of the held acks leave; each answer draws the next."""
        self._ack = self.queue
        for _ in range(min(HELD_AT_ONCE, len(self._held))):
            self.queue(self._held.pop())

    def fail(self, fault: str) -> None:
        """Whoever waits for this peer is told, else the run."""
        fault = f"{self._names[self._index]} {fault}"
        for waiter in (self.opened, self.greeted):
            if not waiter.done():
                waiter.set_exception(RunFailed(fault))
                return
        self._traffic.fail(fault)


class Driver:
    """Runs a case over raw peers."""

    def __init__(self, job: Job, traffic: Traffic) -> None:
        self._job = job
        self._traffic = traffic
        self._names = [*job.names, EVERYONE]
        self._peers: list[Peer] = []

    async def open(self) -> None:
        """Connect every peer and let it say hello."""
        room = asyncio.Semaphore(CONNECT_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            opening = [
                group.create_task(self._connect(index, token, room))
                for index, token in enumerate(self._job.tokens)
            ]
        self._peers = [task.result() for task in opening]

    async def _connect(self, index: int, token: str, room: asyncio.Semaphore) -> Peer:
        peer = Peer(self._job.url, index, self._traffic, self._names)
        async with room:
            await peer.connect(self._job.url)
            case = self._job.case
            receives = case.pattern == "fanout" and index >= case.senders
            peer.hello(token, case.capacity, (EVERYONE,) if receives else ())
            await peer.greeted
        return peer

    def start(self) -> None:
        """Fill every sender's window; from then on each answer draws the next message."""
        for peer in self._peers[: self._job.case.senders]:
            for _ in range(self._job.case.window):
                if not peer.supply(now_ns()):
                    break

    def send(self, sender: int, due: int) -> None:
        """One message that was due at an instant."""
        self._peers[sender].supply(due)

    async def close(self) -> list[str]:
        """Leave without ceremony."""
        for peer in self._peers:
            peer.leave()
        return []
