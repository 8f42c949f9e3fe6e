"""Who is there: the list of peers.

Owns: `peer.list`, its filters, and what it hides. It reads memory only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from broker.areas.presence.show import show
from broker.areas.presence.watch import ROLES
from broker.core.house import Member, Mesh, Presence
from broker.core.operations import Operations
from broker.core.pages import page, position
from broker.core.turn import Turn
from broker.wire.errors import Refused
from broker.wire.fields import Role
from broker.wire.presence import ListPeers, Peers

operations = Operations()

HIDDEN: Final = frozenset[Role]({"control-plane"})
"""Daemons are on every host: they are counted, and listed only for those who ask for them."""


@operations.handle(ListPeers, drains=True)
def list_peers(turn: Turn, caller: Presence, request: ListPeers) -> Peers:
    """List who is there; without roles the control planes are counted, not listed."""
    after = _after(request)
    roles = ROLES - HIDDEN if request.roles is None else frozenset[Role](request.roles)
    hidden: dict[Role, int] = {}
    found: list[Presence] = []
    for presence in _there(caller.mesh, request.member, request.group):
        if presence.role in roles:
            if presence.id > after:
                found.append(presence)
        elif request.roles is None:
            hidden[presence.role] = hidden.get(presence.role, 0) + 1
    found.sort(key=lambda one: one.id)
    peers, more = page(
        "peer",
        ((str(one.id), show(turn, one, caller)) for one in found),
        request.limit,
        turn.settings.limits.frame,
    )
    return Peers(peers=peers, hidden=hidden, next=more)


def _after(request: ListPeers) -> int:
    place = position("peer", request.after) or "0"
    if not (place.isascii() and place.isdecimal() and len(place) < 19):
        raise Refused("bad_request", f"after: {place[:100]!r} is no cursor of this list")
    return int(place)


def _there(mesh: Mesh, name: str | None, group: str | None) -> Iterator[Presence]:
    """Who is in a mesh and not only observing, of one member or in one group if so wished."""
    members: list[Member] = list(mesh.members.values())
    if name is not None:
        members = [mesh.members[name]] if name in mesh.members else []
    for member in members:
        for presence in member.presences.values():
            if not presence.observe and (group is None or _inside(presence, group)):
                yield presence


def _inside(presence: Presence, group: str) -> bool:
    """Whether a send to this group reaches the presence's mailbox; subgroups belong to theirs."""
    groups = presence.box.groups
    if group in groups:
        return True
    return group[0] == "@" and any(name.startswith(f"{group}/") for name in groups)
