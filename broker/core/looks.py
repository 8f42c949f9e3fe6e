"""Reads beside the writer: a long look stops nobody but the connection that asked for it.

Owns: looks under way, and what a failed one is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import UNSET

from broker.clock import monotonic
from broker.core.decide import AGAIN_MS, INTERNAL, UNAVAILABLE
from broker.core.operations import Looking
from broker.core.turn import failure
from broker.store.sqlite import LookTooLong, StoreFault
from broker.wire.errors import ErrorBody, Refused
from broker.wire.frames import Reply

if TYPE_CHECKING:
    from broker.core.conversation import Conversation
    from broker.spread import Spread
    from broker.store.sqlite import Reader

log = logging.getLogger("broker.looks")

LOOK_SECONDS: Final = 0.25

TOO_LONG: Final = ErrorBody("overloaded", "the read took too long; ask for less", True, AGAIN_MS)


class Looks:
    """Starts looks and answers them.

    `go_on` hears when a connection's look is answered, `ill` when the storage could not do one.
    """

    __slots__ = ("_go_on", "_ill", "_reader", "_seconds", "under_way")

    def __init__(
        self,
        reader: Reader,
        go_on: Callable[[Conversation], None],
        ill: Callable[[StoreFault], None],
        seconds: Spread,
    ) -> None:
        self._reader = reader
        self._go_on = go_on
        self._ill = ill
        self._seconds = seconds
        self.under_way = 0

    def start(self, conversation: Conversation, looking: Looking | None) -> None:
        """Read; what the connection asked after it waits for the answer. None: it has it."""
        if looking is None:
            self._go_on(conversation)
            return
        self.under_way += 1
        conversation.reads(looking.request_id)
        began = monotonic()
        future = self._reader.look(looking.function, LOOK_SECONDS)
        future.add_done_callback(lambda done: self._finish(conversation, looking, done, began))

    def _finish(
        self,
        conversation: Conversation,
        looking: Looking,
        done: asyncio.Future[Any],
        began: float,
    ) -> None:
        self.under_way -= 1
        self._seconds.note(monotonic() - began)
        if done.cancelled():
            return
        conversation.answered(looking.request_id)
        error = done.exception()
        if error is None:
            looking.operation.counts["ok"] += 1
            if looking.request_id is not UNSET:
                conversation.say(Reply(looking.request_id, done.result()))
        else:
            body = _refusal_of(error)
            if body is UNAVAILABLE:
                self._ill(cast("StoreFault", error))
            looking.operation.counts[body.code] += 1
            conversation.say(failure(looking.request_id, body, looking.operation.name))
        self._go_on(conversation)


def _refusal_of(error: BaseException) -> ErrorBody:
    """What a failed look is answered."""
    if isinstance(error, Refused):
        return error.body()
    if isinstance(error, LookTooLong):
        return TOO_LONG
    if isinstance(error, StoreFault) and not error.ours:
        return UNAVAILABLE
    log.error("a read failed: this is a fault of the broker", exc_info=error)
    return INTERNAL
