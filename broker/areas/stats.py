"""`broker.stats`: the figures of one mesh, of all nouns.

Owns: putting them together. It reads no table; each noun counts its own.
"""

from __future__ import annotations

from typing import Final, get_args

from broker import __version__
from broker.areas import delegations, dispatch
from broker.areas.directory.access import steering
from broker.areas.mail import figures
from broker.core.house import Mesh, Presence
from broker.core.operations import Looking, Operations
from broker.core.turn import Turn
from broker.store.sqlite import Look
from broker.wire.directory import (
    BrokerStats,
    DeepMailbox,
    GetBrokerStats,
    MailboxStats,
    StorageStats,
)
from broker.wire.fields import Role
from broker.wire.mail import DeliveryState

operations = Operations()

ROLES: Final[tuple[Role, ...]] = get_args(Role)


@operations.handle(GetBrokerStats, reads=True)
def stats(turn: Turn, caller: Presence, request: GetBrokerStats) -> Looking:
    """Show the broker's figures for the caller's mesh."""
    mesh = steering(caller).mesh
    house, now = turn.house, turn.now
    mesh_id = mesh.id
    unfinished = figures.unfinished(house, mesh) if len(house.meshes) == 1 else None
    uptime_ms = now - house.started_at
    here = present(mesh)
    opened = len(figures.open_boxes(mesh))
    deepest = figures.deepest(house, mesh)

    def look(look: Look) -> BrokerStats:
        size, log_size = look.size()
        return BrokerStats(
            version=__version__,
            uptime_ms=uptime_ms,
            presences=here,
            deliveries=_deliveries(look, mesh_id, unfinished),
            mailboxes=MailboxStats(
                open=opened, deepest=[_shown(look, deep, now) for deep in deepest]
            ),
            delegations=delegations.figures(look, mesh_id),
            dispatches=dispatch.figures(look, mesh_id),
            storage=StorageStats(bytes=size, wal_bytes=log_size),
        )

    return Looking(look)


def _deliveries(
    look: Look, mesh_id: int, unfinished: tuple[int, int] | None
) -> dict[DeliveryState, int]:
    if unfinished is None:
        return figures.by_state(look, mesh_id)
    return figures.all_by_state(look, *unfinished)


def present(mesh: Mesh) -> dict[Role, int]:
    """Who is there by role, away included; observers are not."""
    counts = dict.fromkeys(ROLES, 0)
    for presence in mesh.presences():
        if not presence.observe:
            counts[presence.role] += 1
    return counts


def _shown(look: Look, deep: figures.Deep, now: int) -> DeepMailbox:
    sent_at = figures.oldest_sent_at(look, deep)
    oldest_ms = None if sent_at is None else max(now - sent_at, 0)
    return DeepMailbox(mailbox=deep.address, depth=deep.depth, oldest_ms=oldest_ms)
