"""`postroom mail receive`: claim, show, ack.

Owns: the order of the three: mail is acked when it has been shown, never before.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, cast

from broker.wire.mail import Ack, Claim, Claimed, Delivery
from clients.command.commands import Command, Given, option
from clients.command.failures import NotReached, WrongUsage
from clients.command.parameters import seconds
from clients.command.session import Session, call
from clients.command.show import deliveries, document

if TYPE_CHECKING:
    from clients import Client

MOST: Final = 100
"""What one claim may ask for."""
LONGEST_MS: Final = 60_000
"""What one claim may wait."""


EARLY_SECONDS: Final = 0.5
"""What is answered earlier than it was to wait has been answered by a broker that drains."""


async def receive(session: Session, given: Given) -> None:
    """Take mail, show it and say that it has arrived."""
    keep = bool(given.get("no_ack"))
    async with session.connected(leave=not keep) as me:
        found = await _claimed(me, given)
        if session.json:
            document(Claimed(deliveries=found))
        else:
            deliveries(found, held=keep)
            sys.stdout.flush()
        if not keep:
            import asyncio

            acks = (call(me, Ack(delivery=one.delivery, claim=one.claim)) for one in found)
            await asyncio.gather(*acks)


async def _claimed(me: Client, given: Given) -> list[Delivery]:
    most = 1 if given.get("max") is None else given["max"]
    if most < 1:
        raise WrongUsage(f"--max is at least 1, not {most}")
    wait = given.get("wait") or 0
    mailbox = given.get("mailbox")
    found: list[Delivery] = []
    while len(found) < most:
        part = 0 if found else min(wait, LONGEST_MS)
        claim = Claim(max=min(most - len(found), MOST), wait_ms=part, mailbox=mailbox)
        began = time.monotonic()
        got = (cast("Claimed", await call(me, claim))).deliveries
        if not got and time.monotonic() - began < part / 1_000 - EARLY_SECONDS:
            raise NotReached("the broker is going away; until now there was no mail")
        found += got
        wait -= part
        if not got and (found or wait <= 0):
            break
    return found


RECEIVE: Final = Command(
    "Take mail, show it, and say that it has arrived.",
    [
        option("max", int | None, "at most so many [default: 1]"),
        option(
            "wait",
            int | None,
            "how long to wait for the first, if there is none",
            converter=seconds,
            metavar="DURATION",
        ),
        option("mailbox", str | None, "an address [default: the member's mailbox]"),
        option("no_ack", bool, "only claim it: it comes again unless it is acked"),
    ],
    receive,
)
