"""The client as an application holds it: `async with connect(...) as me`.

Owns: the public surface, the coming and the leaving. What it does is done by its parts.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar, overload

import anyio

from broker.wire.fields import Role, Status
from broker.wire.frames import Event
from broker.wire.presence import ClientInfo, Welcome
from clients.asking import LOOK_SECONDS, Question, in_time
from clients.errors import Closed, PostroomError
from clients.events import BUFFERED, Reader
from clients.identity import Identity
from clients.keeper import Keeper
from clients.link import address
from clients.mail import Mail, reader
from clients.parts import Parts
from clients.serving import Handler
from clients.spaces import Operations

T = TypeVar("T")

GRACE_SECONDS: Final = 10.0
LEAVE_SECONDS: Final = 3.0
"""What the last answers, a bye and the closing handshake may take, each."""


class Client(Operations):
    """One presence at a broker. `connect` makes it."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.requests, parts.identity)
        self._parts = parts
        self.make_spaces(parts)

    @property
    def welcome(self) -> Welcome:
        """What the broker answered to the last hello: presence, address, session, limits."""
        assert self._parts.talk.welcome is not None, "connect gives no client without a welcome"
        return self._parts.talk.welcome

    @property
    def address(self) -> str:
        """The address of this client's own mailbox."""
        return self.welcome.address

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._parts.talk.connected

    def events(self, *kinds: type[Event], buffered: int = BUFFERED) -> Reader:
        """Read what the broker tells by itself, from now on: all events, or those of some kinds."""
        return self._parts.events.read(*kinds, buffered=buffered)

    @overload
    async def serve(self, handler: Handler[Any], *, concurrency: int = 1) -> None: ...
    @overload
    async def serve(self, handler: Handler[T], *, concurrency: int = 1, type: type[T]) -> None: ...
    @overload
    async def serve(self, handler: Handler[Any], *, concurrency: int = 1, type: Any) -> None: ...
    async def serve(
        self,
        handler: Handler[Any],
        *,
        concurrency: int = 1,
        type: Any = None,  # noqa: A002 - the word of msgspec
    ) -> None:
        """Hand each mail to a handler, so many at a time, until `stop`.

        A mail is acked when its handler returns, and given back when it raises. One whose body is
        not of the `type` is buried.
        """
        await self._parts.serving.serve(handler, concurrency, type)

    def stop(self) -> None:
        """Take no more mail. Handlers that run come to their end, then `serve` returns."""
        self._parts.intake.stop()

    @overload
    async def ask(
        self,
        to: str | Iterable[str],
        body: Any,
        *,
        type: type[T],
        timeout: float | None = ...,  # noqa: ASYNC109 - past it the question can be cancelled
        **fields: Any,
    ) -> Mail[T]: ...
    @overload
    async def ask(
        self,
        to: str | Iterable[str],
        body: Any,
        *,
        type: Any = ...,
        timeout: float | None = ...,  # noqa: ASYNC109 - past it the question can be cancelled
        **fields: Any,
    ) -> Mail[Any]: ...
    async def ask(
        self,
        to: str | Iterable[str],
        body: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - past it the question can be cancelled
        type: Any = None,  # noqa: A002 - the word of msgspec
        **fields: Any,
    ) -> Mail[Any]:
        """Send a question and wait for the mail that answers it, which is acked then.

        Further fields are those of `mail.send`. In time unanswered: `AskTimedOut`, which can cancel
        the question. Ended unanswered: `Undelivered`.
        """
        return await in_time(self.asking(to, body, type=type, **fields), timeout)

    def asking(
        self,
        to: str | Iterable[str],
        body: Any,
        *,
        type: Any = None,  # noqa: A002 - the word of msgspec
        look_seconds: float = LOOK_SECONDS,
        **fields: Any,
    ) -> Question[Any]:
        """Put a question and follow it: `Queued`, `Working`, `Answered`."""
        intake = self._parts.intake
        return Question(self, intake, to, body, fields, reader(type), look_seconds)


async def _leave(parts: Parts, keeper: Keeper, *, final: bool | None, grace: float) -> None:
    """Let handlers end, hear the last answers, say bye, close."""
    try:
        if parts.serving.running:
            parts.intake.stop()
            with anyio.move_on_after(grace):
                await parts.serving.ended()
    finally:
        try:
            await _say_bye(parts, keeper, final=final)
        finally:  # a task that is cancelled once more while it leaves is not held by shields
            keeper.stop()
            parts.talk.drop()
            parts.talk.finish(Closed("this client has left"))


async def _say_bye(parts: Parts, keeper: Keeper, *, final: bool | None) -> None:
    with anyio.move_on_after(LEAVE_SECONDS, shield=True):
        await parts.intake.holding.settled()
    keeper.stop()
    # A connection that is lost now needs no good-bye.
    with anyio.move_on_after(LEAVE_SECONDS, shield=True), suppress(PostroomError):
        if final is not None and (said := parts.talk.send_bye(final=final)) is not None:
            await said
    with anyio.move_on_after(LEAVE_SECONDS, shield=True):
        if (ended := parts.talk.hang_up()) is not None:
            await ended


@asynccontextmanager
async def connect(
    url: str,
    *,
    member: str,
    token: str,
    mesh: str = "default",
    role: Role = "session",
    session: str | None = None,
    observe: bool = False,
    status: Status | None = None,
    summary: str | None = None,
    groups: Iterable[str] = (),
    capacity: int = 32,
    host: str | None = None,
    client: ClientInfo | None = None,
    reconnect: bool = True,
    resume: str | None = None,
    final: bool | None = False,
    grace: float = GRACE_SECONDS,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """Connect to a broker and be there until the block ends.

    `capacity` is how many unacknowledged deliveries may be in hand at once; with 0, or as an
    observer, no mail is handed over. At the end of the block handlers have `grace` seconds to end,
    then the client says bye; `final=True` also closes a session's mailbox, `final=None` says
    nothing, so that the presence stays for its lease and `resume` (from `welcome.resume`) takes it
    up again.
    """
    identity = Identity.of(
        member=member,
        token=token,
        mesh=mesh,
        role=role,
        session=session,
        observe=observe,
        status=status,
        summary=summary,
        groups=groups,
        capacity=capacity,
        host=host,
        client=client,
        resume=resume,
    )
    parts = Parts(identity)
    keeper = Keeper(address(url), tls, parts.talk, reconnect)
    try:
        await keeper.connect()
    except BaseException:
        parts.talk.finish(Closed("this client never came"))
        raise
    fault: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.keep)
        try:
            yield Client(parts)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised again outside of the task group
            fault = error
        finally:
            await _leave(parts, keeper, final=final, grace=grace)
    if fault is not None:
        raise fault
