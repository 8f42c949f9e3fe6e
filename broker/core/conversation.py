"""The conversation on one connection, without any I/O: what may be said when, and until when.

Owns: the stage of the conversation, request ids in flight, back-pressure, time-outs, the budget of
errors. Frames go to the executor in order; it answers through `say`. Knows no operation but hello.

    greeting -> open      a hello was taken (the executor sets `presence`)
    greeting -> closing   no hello in time, refused, not the protocol
    open     -> closing   bye, replaced, revoked, not the protocol, too many errors, silence
    any      -> gone      the socket is lost
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import UNSET, UnsetType

from broker.wire.codec import Bad, NotProtocol, NotUtf8, decode
from broker.wire.errors import ErrorBody
from broker.wire.frames import ErrorEvent, Failure, Request, encode

if TYPE_CHECKING:
    from broker.config import Settings
    from broker.core.executor import Executor
    from broker.core.house import Presence
    from broker.core.ports import Greeting, Line

MOST_IN_FLIGHT: Final = 1_024
MOST_BYTES_IN_FLIGHT: Final = 4 * 1_024 * 1_024
MOST_ERRORS: Final = 100
ERROR_WINDOW_SECONDS: Final = 60.0
BLAMED: Final = frozenset({"bad_frame", "bad_request", "unknown_op"})

OWED_BYTES: Final = 32 * 1_024  # between two looks at how much the socket still holds
NOT_UTF8: Final = 1007
NOT_PROTOCOL: Final = 4400
NO_HELLO: Final = 4408
TOO_MANY_ERRORS: Final = 4429

IN_FLIGHT: Final = ErrorBody("bad_request", "id: a request with this id is in flight", False)
OVERLOADED: Final = ErrorBody("overloaded", "the broker has too much to do", True, 1_000)


class Rules(Protocol):
    """Whom a conversation tells what happens to its connection; each becomes part of a batch."""

    def gone(self, conversation: Conversation) -> None:
        """The socket is lost."""

    def writable(self, presence: Presence) -> None:
        """The outbox has room again."""

    def heard(self, presence: Presence, conversation: Conversation) -> None:
        """A first frame came after hello: the resume value before it is spent."""


class Conversation:
    """One connection, from its first frame to its end."""

    __slots__ = (
        "_bytes",
        "_closing",
        "_errors",
        "_executor",
        "_heard",
        "_ids",
        "_in_flight",
        "_lost",
        "_owed",
        "_paused",
        "_pinged",
        "_rules",
        "_seconds",
        "_settings",
        "_started",
        "arrivals",
        "full",
        "greeting",
        "inbox",
        "line",
        "parting",
        "presence",
        "queued",
        "waits",
    )

    def __init__(
        self,
        line: Line,
        greeting: Greeting,
        executor: Executor,
        settings: Settings,
        seconds: Callable[[], float],
        rules: Rules,
    ) -> None:
        self.line = line
        self.greeting = greeting
        self.inbox: deque[Request | Bad] = deque()
        self.arrivals: list[tuple[int, float]] = []
        """How many of those in flight came together, and when."""
        self.full = False
        """Whether the outbox is full: no mail is claimed for this connection until it is not."""
        self.queued = False
        """Whether the executor knows that the inbox is not empty, or a read holds it up."""
        self.presence: Presence | None = None
        """Who speaks, once a hello was taken."""
        self.parting = False
        """Whether it is decided that the two part; the close follows the commit."""
        self.waits: int | str | None = None
        """The id of the pull claim that waits for mail."""
        self._executor = executor
        self._settings = settings
        self._seconds = seconds
        self._rules = rules
        self._ids: set[int | str] = set()
        self._in_flight = self._bytes = self._owed = 0
        self._paused = False
        self._closing = self._lost = False
        self._errors: deque[float] | None = None
        self._started = self._heard = seconds()
        self._pinged = self._started

    # -- what comes in ---------------------------------------------------------------------------

    def received(self, data: bytes, *, binary: bool) -> None:
        """One WebSocket message: its frames go to the executor, the bad ones in their place."""
        if self._closing:
            return
        if binary:
            self.close(NOT_PROTOCOL, "binary messages are not the protocol")
            return
        try:
            frames = decode(data)
        except NotUtf8:
            self.close(NOT_UTF8, "not UTF-8")
            return
        except NotProtocol as error:
            self.close(NOT_PROTOCOL, str(error))
            return
        presence = self.presence
        if presence is not None and presence.previous is not None:
            self._rules.heard(presence, self)
        ids, inbox = self._ids, self.inbox
        if self._executor.waiting > self._executor.most_waiting:
            frames = [_refused(frame, OVERLOADED) for frame in frames]
        count = len(frames)
        new: set[Any] = {frame.id for frame in frames}
        if len(new) == count and UNSET not in new and ids.isdisjoint(new):
            ids |= new
            inbox.extend(frames)
        else:
            self._admit_singly(frames)
        self._in_flight += count
        self.arrivals.append((count, self._heard))
        self._bytes += len(data)
        self._executor.waiting += count
        if self._in_flight > MOST_IN_FLIGHT or self._bytes > MOST_BYTES_IN_FLIGHT:
            self._paused = True
            self.line.pause()
        if not self.queued and inbox:
            self._executor.enqueue(self)

    def _admit_singly(self, frames: list[Request | Bad]) -> None:
        """Frames without an id, or with one that is in flight already."""
        for frame in frames:
            id = frame.id
            if id is not UNSET:
                if id in self._ids:
                    self.inbox.append(_refused(frame, IN_FLIGHT))
                    continue
                self._ids.add(id)
            self.inbox.append(frame)

    def alive(self) -> None:
        """Bytes came. When exactly is looked at only when the time is up."""
        self._heard = self._seconds()

    def writable(self) -> None:
        """The outbox has room again: mail may be handed over."""
        self.full = self._closing
        if self.presence is not None:
            self._rules.writable(self.presence)

    def lost(self) -> None:
        """The socket is gone. What was read from it is done first; nothing is claimed for it."""
        self._closing = self._lost = self.full = True
        if not self._in_flight:
            self._rules.gone(self)

    # -- what goes out ---------------------------------------------------------------------------

    def say(self, frame: Any) -> None:
        """Send a reply or an event."""
        self.line.send(encode(frame))
        kind = type(frame)
        if (kind is Failure or kind is ErrorEvent) and frame.error.code in BLAMED:
            self._blame()

    def deliver(self, frame: bytes) -> None:
        """Push a delivery. A full outbox takes what was claimed already, and no more."""
        self.line.deliver(frame)
        self._owed += len(frame)
        if self._owed > OWED_BYTES and not self._closing:
            self._owed = 0
            self.full = self.line.pending() >= self._settings.limits.outbox

    def weight(self, count: int) -> int:
        """The bytes of so many requests, as a share of all that are in flight."""
        return self._bytes * count // self._in_flight

    def settled(self, requests: list[Request | Bad]) -> None:
        """The executor is done with these: they are answered, or one waits as a pull claim."""
        count = len(requests)
        self._bytes -= self.weight(count)
        self._in_flight -= count
        self._executor.waiting -= count
        if self._lost and not self._in_flight:
            self._rules.gone(self)
        self._ids.difference_update([request.id for request in requests])
        if self.waits is not None:
            self._ids.add(self.waits)
        if self._paused and (
            self._in_flight <= MOST_IN_FLIGHT // 2 and self._bytes <= MOST_BYTES_IN_FLIGHT // 2
        ):
            self._paused = False
            self._heard = self._seconds()
            self.line.resume()

    def reads(self, id: int | str | UnsetType) -> None:
        """The answer to this one is still to be read: its id stays in flight."""
        if id is not UNSET:
            self._ids.add(id)

    def answered(self, id: int | str | UnsetType) -> None:
        """A request that waited has its answer."""
        if self.waits == id:  # else another one waits since
            self.waits = None
        self._ids.discard(id)

    def close(self, code: int, reason: str) -> None:
        """Close the connection after what has been said; nothing more is taken from it."""
        if not self._closing:
            self._closing = self.full = True
            self.line.close(code, reason)

    @property
    def closing(self) -> bool:
        """Whether this connection has ended for the peer or for us."""
        return self._closing

    def silence(self) -> float:
        """Seconds since anything came."""
        return self._seconds() - self._heard

    def _blame(self) -> None:
        now = self._seconds()
        errors = self._errors
        if errors is None:
            errors = self._errors = deque()
        while errors and errors[0] < now - ERROR_WINDOW_SECONDS:
            errors.popleft()
        errors.append(now)
        if len(errors) >= MOST_ERRORS:
            self.close(TOO_MANY_ERRORS, f"{MOST_ERRORS} errors within a minute")

    # -- time ------------------------------------------------------------------------------------

    def tick(self, now: float) -> float:
        """Hello in time, pings, silence; when to look again."""
        times = self._settings.presence
        rhythm = (times.ping_ms if times.ping_ms < times.pong_ms else times.pong_ms / 2) / 1000
        if self._closing:
            return now + rhythm
        if self.presence is None and not self.parting:
            end = self._started + times.hello_ms / 1000
            if now >= end and not self.queued:
                self.close(NO_HELLO, "no hello in time")
                return now + rhythm
            end = max(end, now + 0.05)
        else:
            if self._paused:
                self._heard = now
            end = self._heard + times.pong_ms / 1000
            if now >= end:
                self._closing = self.full = True
                self.line.abort()
                return now + rhythm
        if now >= self._pinged + rhythm:
            self._pinged = now
            self.line.ping()
        return min(self._pinged + rhythm, end)


def _refused(frame: Request | Bad, error: ErrorBody) -> Bad:
    if isinstance(frame, Bad):
        return frame
    return Bad(id=frame.id, op=str(frame.__struct_config__.tag), error=error)
