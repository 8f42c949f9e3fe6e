"""Reading mail: one after another in a loop, or by workers that run a handler.

Owns: who reads, and what a handler's end means for its mail. Knows nothing of leases or sockets.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeVar

import anyio

from clients.errors import BodyUnreadable, Closed, NotDraining
from clients.intake import Intake
from clients.mail import Mail, Read, reader

log = logging.getLogger("postroom.client")

T = TypeVar("T")
Handler = Callable[[Mail[T]], Any]


class MailReader(Generic[T]):
    """An iterator over the mails that are handed to this client. Several share them out."""

    def __init__(self, intake: Intake, read: Read, *, typed: bool) -> None:
        _check_drains(intake)
        self._intake = intake
        self._read = read
        self._typed = typed

    def __aiter__(self) -> MailReader[T]:
        """Read one mail after another."""
        return self

    async def __anext__(self) -> Mail[T]:
        """Wait for the next mail; the end comes with `stop` or the end of the client."""
        while True:
            mail: Mail[T] | None = await self._intake.take()
            if mail is None:
                _raise_unless_closed(self._intake)
                raise StopAsyncIteration
            mail.read = self._read
            if not self._typed or readable(mail):
                return mail


class Serving:
    """The handlers of one client."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._running = 0
        self._ended: asyncio.Future[None] | None = None

    async def serve(self, handler: Handler[Any], concurrency: int, wanted: Any) -> None:
        """Hand mails to a handler until this client stops."""
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        if not callable(handler):
            raise TypeError(f"a handler is called with each mail; {handler!r} can't be called")
        _check_drains(self._intake)
        if self._intake.fault is not None:
            raise self._intake.fault.again()
        read = reader(wanted)
        typed = wanted is not None
        self._running += 1
        try:
            async with anyio.create_task_group() as workers:
                for _ in range(concurrency):
                    workers.start_soon(self._work, handler, read, typed)
            await self._intake.holding.settled()
        finally:
            self._running -= 1
            if not self._running and self._ended is not None:
                self._ended.set_result(None)
                self._ended = None
        _raise_unless_closed(self._intake)

    @property
    def running(self) -> bool:
        """Whether anybody serves."""
        return self._running > 0

    async def ended(self) -> None:
        """Wait until no handler runs any more."""
        while self._running:
            if self._ended is None:
                self._ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)

    async def _work(self, handler: Handler[Any], read: Read, typed: bool) -> None:
        intake = self._intake
        while (mail := intake.next_unread() or await intake.take()) is not None:
            mail.read = read
            if typed and not readable(mail):
                continue
            try:
                result = handler(mail)
                if result is not None and inspect.isawaitable(result):
                    await result
            except Exception as fault:
                log.warning("the handler failed on %r", mail, exc_info=True)
                if not mail.settled:
                    mail.give_back(fault)
            except BaseException as interruption:
                if not mail.settled:
                    mail.give_back(interruption)
                if not isinstance(interruption, asyncio.CancelledError) or _ending():
                    raise
                _go_on()  # it was this handler's own cancellation, or the application's of it
                log.info("the handler of %r was cancelled", mail)
            else:
                if not mail.settled:
                    mail.done()


def _ending() -> bool:
    """Whether serving itself is cancelled, and every handler with it."""
    return anyio.current_effective_deadline() == -inf


def _go_on() -> None:
    """Forget that this task was asked to end."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def readable(mail: Mail[Any]) -> bool:
    """Whether a mail's body is what is wanted; one that is not is buried: it never will be."""
    try:
        _ = mail.body
    except BodyUnreadable as fault:
        log.warning("%r is not what is read here: %s", mail, fault)
        mail.give_back(fault)
        return False
    return True


def _check_drains(intake: Intake) -> None:
    if intake.observes:
        raise NotDraining("an observer is never handed mail; it pulls with mail.take")


def _raise_unless_closed(intake: Intake) -> None:
    if intake.fault is not None and not isinstance(intake.fault, Closed):
        raise intake.fault.again()
