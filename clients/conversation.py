"""The conversation with the broker: hello, replies, pushes and events, over one link after another.

Owns: what each incoming frame is for, and what a new, lost or final connection means. All of it is
plain synchronous code that runs as bytes come. Opening links is the keeper's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from broker.wire.errors import ErrorBody
from broker.wire.frames import ErrorEvent, Event
from broker.wire.mail import Delivery
from broker.wire.presence import Bye, Welcome
from clients.errors import (
    BY_CODE,
    Closed,
    ConnectionLost,
    PostroomError,
    ProtocolFault,
    Replaced,
    refused,
)
from clients.frames import DELIVER, event_of, frames_of, incoming
from clients.identity import Identity
from clients.link import NORMAL, Link, Lost
from clients.pending import Pending, Verb
from clients.requests import Requests

log = logging.getLogger("postroom.client")

HELLO: Final = 0
"""The id of every hello; other requests count from 1."""
LOOKS_PER_LEASE: Final = 4
"""A dead connection is noticed after two silent looks, with time left to resume the presence."""

_BYE: Final = Verb(Bye)
_welcome: Final = msgspec.json.Decoder(Welcome).decode


class Reconnected(Event, tag="client.reconnected"):
    """The connection was lost and there is another one. Made by this client, not by the broker.

    If the presence was not resumed, others have seen it leave, and what it held is not its own.
    """

    welcome: Welcome


class Hearers(Protocol):
    """Whom a conversation tells what the broker says by itself."""

    def event(self, event: Event) -> None:
        """Something else happened."""

    def resumed(self, welcome: Welcome, *, first: bool) -> None:
        """There is a presence, the same as before or another one; its first frame may follow."""

    def over(self, fault: PostroomError) -> None:
        """There will be no other connection."""


class Conversation:
    """What is said between one client and the broker."""

    def __init__(
        self,
        identity: Identity,
        requests: Requests,
        hearers: Hearers,
        deliver: Callable[[Delivery], None],
    ) -> None:
        self.identity = identity
        self.requests = requests
        self.welcome: Welcome | None = None
        self.fault: PostroomError | None = None
        """Why there will be no other connection, once that is so."""
        self._hearers = hearers
        self._deliver = deliver
        self._link: Link | None = None
        self._greeted: asyncio.Future[Welcome] | None = None
        self._new = True
        """Whether the presence is no older than the connection, as far as is known."""

    @property
    def connected(self) -> bool:
        """Whether there is a presence to speak for."""
        return self._link is not None and self._greeted is None

    def begin(self, link: Link) -> asyncio.Future[Welcome]:
        """Say hello on a new link; everything else waits for the answer."""
        self._link = link
        self._greeted = link.opened.get_loop().create_future()
        self._new = self.identity.resume is None
        hello = msgspec.json.encode({"op": "hello", "id": HELLO, **self.identity.hello()})
        link.send(hello)
        return self._greeted

    def finish(self, fault: PostroomError) -> None:
        """End for good: whatever waits, and whatever is asked later, gets this."""
        if self.fault is None:
            self.fault = fault
            self.requests.finish(fault)
            self._hearers.over(fault)

    def send_bye(self, *, final: bool) -> Pending[Any] | None:
        """Say bye, if there is anybody to say it to."""
        if not self.connected:
            return None
        return self.requests.ask(_BYE, b'{"final":true}' if final else b"{}")

    def take_back(self, link: Link) -> None:
        """Nobody waits for the welcome any more: a presence that is new is not left behind."""
        if self._greeted is None:  # it came in the very moment
            self.requests.lose("nobody waited for it", NORMAL)
        self._link = self._greeted = None
        if self._new:
            link.send(b'{"op":"bye"}')
            link.close(deaf=True)
        else:
            link.abort()

    def hang_up(self) -> asyncio.Future[Lost] | None:
        """Close the link, if there is one; tell when it is closed."""
        link = self._link
        if link is None:
            return None
        link.close()
        return link.ended

    def drop(self) -> None:
        """Let go of the link at once."""
        if self._link is not None:
            self._link.abort()

    # -- what the link tells ----------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """One message: replies wake who waits, pushes and events go to the hearers."""
        frames: list[bytes] | None = None
        sent = self.requests.sent
        for index, head in enumerate(incoming(data)):
            id = head.re
            if id is not None:
                if head.error is None and id in sent:
                    sent.pop(id).answered(head.ok)
                elif id == HELLO and self._greeted is not None:
                    self._answered_hello(head.ok, head.error)
                    sent = self.requests.sent
                else:
                    self.requests.answered(id, head.ok, head.error)
            elif head.ev == DELIVER:
                self._deliver(head)
            elif head.ev:
                frames = frames or frames_of(data)
                self._event(frames[index])

    def lost(self, link: Link, lost: Lost) -> None:
        """The link is gone. What waited for it fails, or waits for the next one."""
        if link is not self._link:
            return
        self._link = None
        greeted, self._greeted = self._greeted, None
        fault = ended_by(lost)
        if greeted is not None and not greeted.done():
            greeted.set_exception(fault)
        self.requests.lose(str(lost), lost.code)

    # -- inside -----------------------------------------------------------------------------------

    def _answered_hello(self, ok: Raw, error: ErrorBody | None) -> None:
        greeted, link = self._greeted, self._link
        assert greeted is not None
        assert link is not None
        if error is not None:
            if not greeted.done():
                greeted.set_exception(refused(error, "hello"))
            return
        try:
            welcome = _welcome(ok)
        except msgspec.DecodeError as fault:
            if not greeted.done():
                greeted.set_exception(ProtocolFault(f"the welcome can't be read: {fault}"))
            return
        first = self.welcome is None
        self._new = not welcome.resumed
        self._greeted, self.welcome = None, welcome
        self.identity.welcomed(welcome)
        link.frame_limit = welcome.limits.get("frame", link.frame_limit)
        link.keep_alive(welcome.lease_ms / 1000 / LOOKS_PER_LEASE)
        # Before requests that waited: what they are about may have ended with the old connection.
        self._hearers.resumed(welcome, first=first)
        self.requests.begin(link.send)
        if not greeted.done():
            greeted.set_result(welcome)

    def _event(self, frame: bytes) -> None:
        event = event_of(frame)
        if event is None:
            return
        if isinstance(event, ErrorEvent):
            log.warning("%s: %s", event.error.code, event.error.message)
        self._hearers.event(event)


_FINAL: Final[dict[int, Callable[[str], PostroomError]]] = {
    4401: lambda reason: BY_CODE["unauthorized"](ErrorBody("unauthorized", reason, False)),
    4403: lambda reason: BY_CODE["forbidden"](ErrorBody("forbidden", reason, False)),
    4409: lambda reason: Replaced(reason or "the same session connected elsewhere"),
}


def ended_by(lost: Lost) -> PostroomError:
    """Tell what the end of a link means."""
    if lost.code in _FINAL:
        return _FINAL[lost.code](lost.reason)
    return ConnectionLost(f"the connection was lost: {lost}", lost.code)


def is_final(fault: PostroomError) -> bool:
    """Whether trying again by itself would be wrong."""
    return isinstance(fault, (Replaced, Closed, BY_CODE["unauthorized"], BY_CODE["forbidden"]))
