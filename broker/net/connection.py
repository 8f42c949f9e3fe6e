"""One socket, from its HTTP request to its end. The `Line` that a conversation holds.

Owns: the stages of a connection, closing, every deadline of a socket; the sending half is `Writer`.
Must not know: what a message says, how frames are cut and packed.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import Final, cast

from websockets.protocol import State

from broker.net import http
from broker.net.handshake import Handshake, Opening
from broker.net.hub import Hub
from broker.net.inbox import Inbox
from broker.net.writer import HIGH_WATER, LOW_WATER, OPEN, Stage, Writer

log = logging.getLogger(__name__)

_TICK: Final = 0.001
"""Seconds by which a timer may ring early: event loops round to milliseconds."""
_REASON: Final = 123
"""Bytes of text that fit into a close frame beside its code."""
_INTERNAL_ERROR: Final = 1011
_TOO_SLOW: Final = 4429


class Connection(Writer):
    """A `Line` of core.ports."""

    __slots__ = (
        "_armed", "_deadline", "_due", "_farewell", "_handshake", "_inbox", "_timer",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._handshake: Handshake | None = None
        self._inbox: Inbox | None = None
        self._farewell: tuple[int, str] | None = None
        self._deadline = inf  # when the socket is dropped, whatever happens
        self._due = inf  # when the conversation wants its tick
        self._armed = inf  # when the timer rings
        self._timer: asyncio.TimerHandle | None = None

    # -- what the event loop says ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        hub = self._hub
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        hub.strangers.add(self)
        self._expire_in(hub.limits.hello_ms)
        if hub.crowded:
            self._say_last(http.overloaded(hub, "too many connections\n").serialize(), clean=True)
            return
        self._handshake = Handshake(
            hub,
            local=transport.get_extra_info("sockname"),
            peer=transport.get_extra_info("peername"),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = Stage.GONE
        self._hub.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._transport = self._handshake = self._inbox = None
        self._outbox.clear()
        self._lose()

    def data_received(self, data: bytes) -> None:
        self._hub.counters.bytes_in += len(data)
        if self._inbox is not None:
            self._read(data)
        elif self._handshake is not None:
            opening = self._handshake.feed(data)
            if opening is not None:
                self._handshake = None
                self._answer(opening)

    # -- what a conversation asks of its line, besides sending -----------------------------------

    def pause(self) -> None:
        if self._stage is OPEN and self._inbox is not None:
            self._inbox.held = True
            self._rest_reading()

    def resume(self) -> None:
        if self._inbox is not None and self._inbox.held:
            self._inbox.held = False
            self._hub.loop.call_soon(self._read_on)

    def close(self, code: int, reason: str) -> None:
        if self._stage is Stage.REQUEST:
            self.abort()
        elif self._stage is OPEN:
            self._part(code, reason)
            self._expire_in(self._hub.limits.flush_ms)
            self._touch()

    def abort(self) -> None:
        if self._transport is not None:
            if self._stage is OPEN:
                self._part(_INTERNAL_ERROR, "")
            self._stage = Stage.ENDING
            self._transport.abort()

    # -- reading ---------------------------------------------------------------------------------

    def _answer(self, opening: Opening) -> None:
        """The request is answered: a conversation begins, or the socket ends."""
        if opening.greeting is None:
            self._say_last(opening.reply, clean=opening.clean)
            return
        hub = self._hub
        hub.strangers.discard(self)
        hub.lines.add(self)
        hub.counters.opened += 1
        self._stage = OPEN
        self._deadline = inf
        self._send_control(opening.reply)
        self._inbox = Inbox(hub.limits.frame)
        try:
            self._talk = self._inbox.talk = hub.hooks.accept(self, opening.greeting)
            self._due = self._talk.tick(hub.loop.time())
        except Exception:
            log.exception("a connection could not be taken in")
            self.abort()
            return
        if self._stage is OPEN:
            self._arm(self._due)
        if opening.more:
            self._read(opening.more)

    def _read(self, data: bytes) -> None:
        """Let the inbox hand over messages, then do what the protocol wants done."""
        inbox = self._inbox
        if inbox is None or self._stage >= Stage.ENDING:
            return
        before = inbox.messages
        try:
            if self._talk is not None and self._stage is OPEN:
                self._talk.alive()
            words = inbox.feed(data)
        except Exception:
            log.exception("a message could not be taken in")
            self.close(_INTERNAL_ERROR, "internal error")
            return
        self._hub.counters.messages_in += inbox.messages - before
        if inbox.weary:
            self._rest_reading()
            self._hub.loop.call_soon(self._read_on)
        if not words:
            return
        said = b"".join(words)
        if words[-1]:
            self._send_control(said)
        else:
            self._say_last(said, clean=inbox.protocol.close_rcvd is not None)

    def _read_on(self) -> None:
        """Go on after a pause, first with the bytes that were here already."""
        inbox = self._inbox
        if inbox is not None and not inbox.held:
            self._read(b"")
        transport = self._transport
        if inbox is None or inbox.held or inbox.weary:
            return
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def _rest_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    # -- closing ---------------------------------------------------------------------------------

    def _part(self, code: int, reason: str) -> None:
        """From here on neither side's conversation is heard; what is queued still leaves."""
        self._stage = Stage.FLUSHING
        self._farewell = code, reason.encode()[:_REASON].decode(errors="ignore")
        if self._inbox is not None:
            self._inbox.deaf = True
        self.resume()

    def _flushed(self) -> None:
        """Say our close frame; the peer has a while to answer it."""
        self._stage = Stage.CLOSING
        self._expire_in(self._hub.limits.close_ms)
        if self._inbox is not None and self._farewell is not None:
            protocol = self._inbox.protocol
            if protocol.state is State.OPEN:
                protocol.send_close(*self._farewell)
                self._write(b"".join(protocol.data_to_send()))

    def _say_last(self, data: bytes, *, clean: bool) -> None:
        """Write the last bytes of this socket, behind what can still go with them.

        A peer that may still be sending (not `clean`) would lose them if we closed at once, since
        its bytes would be answered with a reset. So these are read and dropped until it closes, or
        its time is up: with TLS, which cannot end one direction, it may not notice before.
        """
        self.flush()
        self._outbox.clear()
        self._stage = Stage.ENDING
        self._expire_in(self._hub.limits.close_ms)
        self._write(data)
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if clean:
                transport.close()
            elif transport.can_write_eof():
                transport.write_eof()
            else:
                self._expire_in(self._hub.limits.close_ms // 5)
        self._lose()

    def _give_up(self) -> None:
        """The peer does not read: say so behind what the transport holds, forget the rest."""
        self._outbox.clear()
        self._part(_TOO_SLOW, "too slow")
        self._flushed()
        self._lose()

    def _lose(self) -> None:
        """Tell the conversation, as soon as nothing more can pass between it and the peer."""
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.lost()

    # -- time ------------------------------------------------------------------------------------

    def _expire_in(self, milliseconds: int) -> None:
        self._deadline = self._hub.loop.time() + milliseconds / 1000
        self._arm(self._deadline)

    def _arm(self, when: float) -> None:
        """One timer, for the earliest of what is due; a later wish is found when it rings."""
        if when < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = when
            self._timer = self._hub.loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._armed = inf
        now = self._hub.loop.time()
        if now + _TICK >= self._deadline:
            self.abort()
            return
        if self._stuffed:
            if self._stage is OPEN and self._is_too_slow(now):
                self._give_up()
            self._arm(self._next_look(now))
        if self._stage is OPEN and self._talk is not None:
            if now + _TICK >= self._due:
                self._due = max(self._tick(max(now, self._due)), now + 2 * _TICK)
            self._arm(self._due)
        self._arm(self._deadline)

    def _tick(self, now: float) -> float:
        try:
            return inf if self._talk is None else self._talk.tick(now)
        except Exception:
            log.exception("a conversation failed at its tick")
            self.close(_INTERNAL_ERROR, "internal error")
            return inf
