"""The spaces that can do more than their operations: mail and dispatch.

Owns: what a space is, and which nouns have more than the wire gives them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeVar, overload

from broker.wire.mail import Claimed, Sent
from clients.caller import TABLE, Caller
from clients.intake import Intake
from clients.leases import Leases
from clients.mail import Mail, reader
from clients.pending import Pending
from clients.requests import Requests
from clients.serving import MailReader
from clients.work import Work

T = TypeVar("T")

SEND: Final = TABLE["mail.send"]
CLAIM: Final = TABLE["mail.claim"]


class Home(Protocol):
    """The parts of a client that its rooms use."""

    intake: Intake
    leases: Leases
    requests: Requests


class Room:
    """The space of one noun, bound to a client."""

    def __init__(self, caller: Caller, home: Home) -> None:
        self.caller = caller
        self.home = home


class MailRoom(Room):
    """Mail: `async for mail in me.mail()`, beside the operations."""

    @overload
    def __call__(self) -> MailReader[Any]: ...
    @overload
    def __call__(self, *, type: type[T]) -> MailReader[T]: ...
    @overload
    def __call__(self, *, type: Any) -> MailReader[Any]: ...
    def __call__(self, *, type: Any = None) -> MailReader[Any]:  # noqa: A002 - the word of msgspec
        """Read the mails that are handed to this client, one after another.

        With a `type` a body is decoded as that before the mail is handed out; a mail whose body is
        something else is buried and passed over.
        """
        return MailReader(self.home.intake, reader(type), typed=type is not None)

    def start_send(
        self, to: str | Iterable[str], body: Any, *, repeat: bool = False, **fields: Any
    ) -> Pending[Sent]:
        """Send without waiting: it leaves with this turn of the loop.

        For many at once, where a task for each would cost more than the sends. Further fields are
        those of `mail.send`.
        """
        fields["to"], fields["body"] = to, body
        return self.caller.start(SEND, fields, repeat=repeat)

    async def take(
        self,
        max: int = 1,  # noqa: A002 - the word of the protocol
        *,
        wait_ms: int = 0,
        lease_ms: int | None = None,
        mailbox: str | None = None,
        type: Any = None,  # noqa: A002 - the word of msgspec
    ) -> list[Mail[Any]]:
        """Pull mails: for observers, and for who has capacity 0. They are renewed until settled."""
        read = reader(type)
        fields = {"max": max, "wait_ms": wait_ms, "lease_ms": lease_ms, "mailbox": mailbox}
        claiming: Pending[Claimed] = self.caller.start(CLAIM, fields)
        claimed = await self.caller.granted(claiming, self._unwanted)
        mails = self._held(claimed, lease_ms)
        for mail in mails:
            mail.read = read
        return mails

    def _held(self, claimed: Claimed, lease_ms: int | None = None) -> list[Mail[Any]]:
        taken = [self.home.intake.holding.take(one, lease_ms) for one in claimed.deliveries]
        return [mail for mail in taken if mail is not None]

    def _unwanted(self, claiming: Pending[Claimed]) -> None:
        """Nobody waited for these: let others have them at once."""
        if claiming.fault is None:
            for mail in self._held(claiming.result()):
                mail.release("nobody waited for it")


class DispatchRoom(Room):
    """Dispatch: `async with me.dispatch.lease(key) as work`, beside the operations."""

    def lease(
        self,
        dispatch_key: str | None = None,
        *,
        agent_type: str | None = None,
        dag_task_id: str | None = None,
        prompt_sha256: str | None = None,
        parent_session_id: str | None = None,
        call_id: str | None = None,
        lease_ms: int | None = None,
    ) -> Work:
        """Lease exactly this work, named by its key or by its four identity fields.

        As a block it is renewed while the body runs, then consumed, or failed by an exception.
        Awaited it is only the operation. `call_id` makes repeated calls get the same lease; without
        one each call has its own.
        """
        given: Iterable[tuple[str, Any]] = {
            "dispatch_key": dispatch_key,
            "agent_type": agent_type,
            "dag_task_id": dag_task_id,
            "prompt_sha256": prompt_sha256,
            "parent_session_id": parent_session_id,
            "call_id": call_id,
            "lease_ms": lease_ms,
        }.items()
        fields = {name: value for name, value in given if value is not None}
        return Work(self.caller, self.home.requests, self.home.leases, fields)


ROOMS: Final[dict[str, type[Room]]] = {"mail": MailRoom, "dispatch": DispatchRoom}
"""The nouns whose spaces have methods of their own."""
