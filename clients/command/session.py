"""One run of a command: its connection as an observer, its questions, its way to print.

Owns: how a command connects and how pages become one answer. Knows no operation by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args, get_origin

import msgspec
from msgspec import Struct

from broker import __version__
from broker.wire import Answer, Request
from broker.wire.errors import ErrorBody
from broker.wire.fields import Role
from broker.wire.presence import ClientInfo
from clients.command.failures import NotReached, WrongUsage
from clients.command.lookup import Account, Flags, look_up
from clients.faults import Refused

if TYPE_CHECKING:
    from clients import Client

OBSERVER: Final = ClientInfo(name="postroom-command", version=__version__)
# An observer does the same in every role; a token may allow any one of them.
ROLES: Final[tuple[Role, ...]] = (
    "session",
    *(role for role in get_args(Role) if role != "session"),
)

ANSWER_SECONDS: Final = 30.0
"""Longer than a broker under load takes for anything."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a command is given."""

    flags: Flags
    json: bool

    @asynccontextmanager
    async def connected(
        self, *, reconnect: bool = False, leave: bool = True
    ) -> AsyncIterator[Client]:
        """Be connected for a block. Without `leave` what was claimed in it stays claimed."""
        account = look_up(self.flags)
        async with AsyncExitStack() as stack:
            yield await _enter(stack, account, reconnect=reconnect, leave=leave)

    async def ask(self, request: Request, *, one_page: bool = False, leave: bool = True) -> Answer:
        """Ask one thing on a connection of its own."""
        async with self.connected(leave=leave) as me:
            return await call(me, request) if one_page else await whole(me, request)


async def _enter(
    stack: AsyncExitStack, account: Account, *, reconnect: bool, leave: bool
) -> Client:
    from clients import connect  # not before it is needed: it costs as much as all the rest

    for role in ROLES:
        try:
            connection = connect(
                account.url,
                member=account.member,
                token=account.token,
                mesh=account.mesh,
                role=role,
                observe=True,
                client=OBSERVER,
                reconnect=reconnect,
                final=False if leave else None,
            )
            return await stack.enter_async_context(connection)
        except ValueError as error:
            raise WrongUsage(str(error)) from error
        except Refused as refusal:
            if refusal.code == "unauthorized":
                text = (
                    f"{refusal.message} (member {account.member}, token from {account.token_from})"
                )
                raise type(refusal)(ErrorBody("unauthorized", text, False)) from refusal
            if refusal.code != "forbidden" or role == ROLES[-1]:
                raise
    raise AssertionError("the last role has been answered")


async def call(me: Client, request: Request) -> Answer:
    """Ask, and give up if nothing comes: nobody wants to look at a cursor for ever."""
    patience = ANSWER_SECONDS + getattr(request, "wait_ms", 0) / 1_000
    try:
        return await me.call(request, timeout=patience)
    except TimeoutError:
        raise NotReached(
            f"the broker does not answer within {patience:g} s: whether it was done is not known"
        ) from None


async def whole(me: Client, request: Request) -> Answer:
    """Ask, and go on asking while there are further pages."""
    answer = await call(me, request)
    if getattr(answer, "next", None) is None:
        return answer
    noun = next(one.name for one in msgspec.structs.fields(type(answer)) if _rows(one.type))
    rows: list[Struct] = list(getattr(answer, noun))
    while (after := getattr(answer, "next", None)) is not None:
        answer = await call(me, msgspec.structs.replace(request, after=after))
        rows += getattr(answer, noun)
    return msgspec.structs.replace(answer, **{noun: rows})


def _rows(kind: object) -> bool:
    return get_origin(kind) is list
