"""A lean client of the wire for making load: raw frames, joined per loop turn, nothing kept.

Owns: the WebSocket of one peer and the driver that runs a case over many of them.
Must not know our own client or the broker: it is measured beside the first, against the second.
"""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from msgspec import Raw, Struct
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from bench.case import Job
from bench.traffic import RunFailed, Traffic, now_ns

FRAMES_PER_WRITE = 500
"""Keeps an array of sends with ordinary bodies far below `limits.frame`."""
CONNECT_AT_ONCE = 50
"""Handshakes under way together: below the broker's cap on connections without a hello."""
HELLO = -1
EVERYONE = "@everyone"
"""The group that all receivers of a fan-out are in."""


class Incoming(Struct, gc=False):
    """What the generator reads of a frame, whatever its kind; the rest is skipped."""

    re: int | None = None
    error: Raw | None = None
    ev: str = ""
    delivery: str = ""
    claim: str = ""
    body: Raw = Raw(b"")


_decode_one = msgspec.json.Decoder(Incoming).decode
_decode_many = msgspec.json.Decoder(list[Incoming]).decode


class Peer(asyncio.Protocol):
    """One connection of one member. Sends and acks leave joined, once per loop turn."""

    def __init__(self, url: str, index: int, traffic: Traffic, names: list[str]) -> None:
        self._index = index
        self._traffic = traffic
        self._names = names
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self._socket = ClientProtocol(parse_uri(url), max_size=None)
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._fragments: list[bytes] = []
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket.send_request(self._socket.connect())
        self._drain()

    def data_received(self, data: bytes) -> None:
        """Everything that one read brought is timed as one instant."""
        now = now_ns()
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Frame):
                self._frame(event, now)
            elif isinstance(event, Response):
                self._upgraded()
        if self._socket.writes:
            self._drain()
        self._traffic.check()

    def connection_lost(self, exc: Exception | None) -> None:
        """During a run nobody may leave."""
        if not self._leaving:
            close = self._socket.close_rcvd
            self._fail(
                f"{self._names[self._index]} was disconnected ({close or exc or 'no reason'})"
            )

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
        self._queue(msgspec.json.encode(frame))

    def supply(self, now: int) -> bool:
        """Send this peer's next message, if it has one."""
        traffic = self._traffic
        number = traffic.take(self._index, now)
        if number < 0:
            return False
        name = self._names[traffic.target(self._index)].encode()
        body = traffic.body(number)
        self._queue(b'{"op":"mail.send","id":%d,"to":"%b","body":%b}' % (number << 1, name, body))
        return True

    def leave(self) -> None:
        """Drop the connection; the run is over."""
        self._leaving = True
        if self._transport is not None:
            self._transport.abort()

    def _queue(self, frame: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(frame)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._socket.state is not OPEN:
            return
        for frames in _portions(waiting):
            self._socket.send_text(b"[%b]" % b",".join(frames) if len(frames) > 1 else frames[0])
        self._drain()

    def _drain(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._socket.data_to_send()))

    def _upgraded(self) -> None:
        if self._socket.handshake_exc is not None:
            self._fail(f"no WebSocket: {self._socket.handshake_exc}")
        elif not self.opened.done():
            self.opened.set_result(None)

    def _frame(self, frame: Frame, now: int) -> None:
        if frame.opcode is Opcode.TEXT and frame.fin:
            self._message(bytes(frame.data), now)
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                whole, self._fragments = b"".join(self._fragments), []
                self._message(whole, now)

    def _message(self, data: bytes, now: int) -> None:
        frames = _decode_many(data) if data[:1] == b"[" else [_decode_one(data)]
        traffic = self._traffic
        for frame in frames:
            if frame.error is not None:
                self._fail(f"{self._names[self._index]} was refused: {bytes(frame.error).decode()}")
            elif frame.re is None:
                if frame.ev == "mail.deliver":
                    copy = traffic.arrived(traffic.number(frame.body), now, self._index)
                    self._queue(
                        b'{"op":"mail.ack","id":%d,"delivery":"%b","claim":"%b"}'
                        % (copy << 1 | 1, frame.delivery.encode(), frame.claim.encode())
                    )
            elif frame.re == HELLO:
                self.greeted.set_result(None)
            elif frame.re & 1:
                traffic.settled(frame.re >> 1, now)
            else:
                traffic.stored(frame.re >> 1, now)
                if not traffic.paced:
                    self.supply(now)

    def _fail(self, fault: str) -> None:
        for waiter in (self.opened, self.greeted):
            if not waiter.done():
                waiter.set_exception(RunFailed(fault))
                return
        self._traffic.fail(fault)


def _portions(frames: list[bytes]) -> list[list[bytes]]:
    if len(frames) <= FRAMES_PER_WRITE:
        return [frames]
    starts = range(0, len(frames), FRAMES_PER_WRITE)
    return [frames[start : start + FRAMES_PER_WRITE] for start in starts]


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
        url = parse_uri(self._job.url)
        async with room:
            _, peer = await asyncio.get_running_loop().create_connection(
                lambda: Peer(self._job.url, index, self._traffic, self._names),
                url.host,
                url.port,
            )
            await peer.opened
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

    async def close(self) -> None:
        """Leave without ceremony."""
        for peer in self._peers:
            peer.leave()
