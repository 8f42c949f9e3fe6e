"""`postroom top`: the mesh at a glance, again and again until `q`.

Owns: what a look is made of and the loop of looks. What it looks like is `screen`'s.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from msgspec import Struct

from broker.wire.delegations import (
    DelegationPreview,
    Delegations,
    DelegationStats,
    GetDelegationStats,
    ListDelegations,
)
from broker.wire.directory import BrokerStats, GetBrokerStats
from broker.wire.fields import Role
from broker.wire.presence import ListPeers, Peer, Peers
from clients.command.commands import Command, Given, option
from clients.command.failures import WrongUsage
from clients.command.parameters import seconds
from clients.command.session import Session, call, whole
from clients.command.show import document

if TYPE_CHECKING:
    from clients import Client

EVERY_MS: Final = 1_000
PATIENCE_SECONDS: Final = 3.0
"""Past it what stands on the screen is called old."""
SHOWN: Final = 20
"""Rows of a list that fit a terminal; the figures count all."""
FINAL: Final = ("acked", "dead", "expired", "cancelled")


class Rates(Struct):
    """What has happened in a second, between two looks."""

    accepted: float
    acked: float
    ended: float


class Snapshot(Struct):
    """One look. The names of the fields are stable."""

    at: int
    broker: BrokerStats
    delegations: DelegationStats
    peers: list[Peer]
    in_flight: list[DelegationPreview]
    """The caller's own that have not ended, the stuck ones first."""
    rates: Rates | None = None
    """Not known at the first look."""


async def look(me: Client, before: Snapshot | None) -> Snapshot:
    """Look once."""
    roles = list(get_args(Role))
    stats = cast("BrokerStats", await call(me, GetBrokerStats()))
    ledger = cast("DelegationStats", await call(me, GetDelegationStats()))
    peers = cast("Peers", await whole(me, ListPeers(roles=roles))).peers
    rows: list[DelegationPreview] = []
    for status in ("stuck", "in_progress", "dispatched", "queued"):
        if ledger.by_status.get(status) and len(rows) < SHOWN:
            page = await call(me, ListDelegations(status=status, limit=SHOWN))
            rows += cast("Delegations", page).delegations
    now = Snapshot(time.time_ns() // 1_000_000, stats, ledger, peers, rows[:SHOWN])
    if before is not None:
        now.rates = rates(before, now)
    return now


def rates(before: Snapshot, now: Snapshot) -> Rates:
    """Events a second, from two counts of rows; what was purged meanwhile is not seen."""
    seconds = max(now.at - before.at, 1) / 1_000
    old, new = before.broker.deliveries, now.broker.deliveries

    def grown(*states: Any) -> float:
        growth = sum(new.get(state, 0) for state in states) - sum(old.get(s, 0) for s in states)
        return max(growth, 0) / seconds

    return Rates(accepted=grown(*new), acked=grown("acked"), ended=grown(*FINAL))


async def top(session: Session, given: Given) -> None:
    """Look again and again, or once."""
    if given.get("once"):
        async with session.connected() as me:
            snapshot = await look(me, None)
        if session.json:
            document(snapshot)
        else:
            from clients.command.screen import print_once

            print_once(snapshot)
        return
    if session.json:
        raise WrongUsage("--json goes with --once")
    if not sys.stdout.isatty():
        raise WrongUsage("this is no terminal: --once prints one look")
    await _live(session, given.get("every") or EVERY_MS)


async def _live(session: Session, every_ms: int) -> None:
    import asyncio
    import signal

    import anyio

    from clients.command.screen import Screen, keys

    async with session.connected(reconnect=True) as me:
        with anyio.CancelScope() as looking, Screen() as screen, keys(looking.cancel):
            # Without this the terminal would be left as it is now.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, looking.cancel)
            last: Snapshot | None = None
            while True:
                now = await _answered(me, last)
                last = now or last
                if last is not None:
                    screen.draw(last, stale=now is None)
                await anyio.sleep(every_ms / 1_000)


async def _answered(me: Client, before: Snapshot | None) -> Snapshot | None:
    """A look, if the broker answers: a view outlives a restart."""
    import anyio

    from clients.errors import ConnectionLost

    try:
        with anyio.move_on_after(PATIENCE_SECONDS):
            return await look(me, before)
    except ConnectionLost:
        return None
    return None


TOP: Final = Command(
    "Watch peers, mailboxes and delegations.",
    [
        option("once", bool, "one look, then end"),
        option(
            "every",
            int | None,
            "how often to look [default: 1s]",
            converter=seconds,
            metavar="DURATION",
        ),
    ],
    top,
)
