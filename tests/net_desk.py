"""A connection in virtual time, on a transport that a test moves by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from net_peer import LIMITS, UPGRADE, App, Recorder, request

from broker.net.connection import Connection
from broker.net.hub import Hub


class Clock:
    """As much of an event loop as a connection needs, in a time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.soon: list[Callable[[], object]] = []
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(self, when, callback)
        self.timers.append(timer)
        return timer

    def turn(self) -> None:
        """What was to be called soon is called."""
        while self.soon:
            self.soon.pop(0)()

    def wait(self, seconds: float) -> None:
        """Time passes, and timers ring in their order."""
        end = self.now + seconds
        self.turn()
        while due := [timer for timer in self.timers if timer.when <= end]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
            self.turn()
        self.now = end


@dataclass(eq=False)
class Timer:
    """A timer of the clock."""

    clock: Clock
    when: float
    callback: Callable[[], object]

    def cancel(self) -> None:
        if self in self.clock.timers:
            self.clock.timers.remove(self)


class Pipe:
    """A transport that keeps what is written, and takes away as much as a test says."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.unsent = 0
        self.stuck = False
        self.flow: list[str] = []
        self.ended: list[str] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        if self.stuck:
            self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 7450 if name == "sockname" else 50_000)

    def set_write_buffer_limits(self, *, high: int, low: int) -> None:
        assert low < high

    def pause_reading(self) -> None:
        self.flow.append("pause")

    def resume_reading(self) -> None:
        self.flow.append("resume")

    def is_closing(self) -> bool:
        return "close" in self.ended or "abort" in self.ended

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended.append("eof")

    def close(self) -> None:
        self.ended.append("close")

    def abort(self) -> None:
        self.ended.append("abort")


@dataclass
class Desk:
    """A connection on a pipe, in virtual time: all that a test of it needs."""

    app: App
    clock: Clock
    pipe: Pipe
    hub: Hub
    line: Connection

    @classmethod
    def made(cls, *, upgrade: bool = True, **limits: int) -> Desk:
        app, clock, pipe = App(), Clock(), Pipe()
        loop = cast("asyncio.AbstractEventLoop", clock)
        hub = Hub(loop, replace(LIMITS, **limits), app.hooks, frozenset())
        line = Connection(hub)
        line.connection_made(cast("asyncio.Transport", pipe))
        desk = cls(app, clock, pipe, hub, line)
        if upgrade:
            line.data_received(request("/v1", UPGRADE))
            clock.turn()
            assert pipe.writes.pop().startswith(b"HTTP/1.1 101 ")
        return desk

    @property
    def talk(self) -> Recorder:
        return self.app.talks[0]

    def stick(self) -> None:
        """The peer reads no more, and the transport has had enough."""
        self.pipe.stuck = True
        self.line.pause_writing()

    def read(self, size: int) -> None:
        """The peer reads some of what the transport holds."""
        self.pipe.unsent -= size

    def loosen(self) -> None:
        """The peer has read everything, and the transport takes more."""
        self.pipe.unsent = 0
        self.pipe.stuck = False
        self.line.resume_writing()
