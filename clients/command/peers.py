"""`postroom peer list`: who is there, now or from now on.

Owns: which roles are shown and the words for nobody. Knows nothing of other nouns.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, cast, get_args

import msgspec

from broker.wire.fields import Role
from broker.wire.presence import (
    ListPeers,
    Peer,
    PeerChanged,
    PeerJoined,
    PeerLeft,
    Peers,
    PeerSynced,
    WatchPeers,
)
from clients.command.commands import PAGE, Command, Given, option
from clients.command.durations import written
from clients.command.fields import fields_of
from clients.command.parameters import arguments
from clients.command.session import Session, call
from clients.command.show import document
from clients.command.tables import print_table
from clients.command.texts import cell
from clients.command.values import request_of

if TYPE_CHECKING:
    from clients import Client

ROLES: Final[tuple[Role, ...]] = get_args(Role)
NOBODY: Final = "Nobody is online."
HEADS: Final = ("address", "role", "status", "transport", "held", "since", "summary")


async def list_peers(session: Session, given: Given) -> None:
    """Show who is there."""
    if given.pop("all", False):
        given.setdefault("roles", list(ROLES))
    watch = given.pop("watch", False)
    request = cast("ListPeers", request_of(ListPeers, fields_of(ListPeers), given))
    if watch:
        async with session.connected(reconnect=True) as me:
            await _watch(me, request, json=session.json)
        return
    one_page = not given.keys().isdisjoint(PAGE)
    peers = cast("Peers", await session.ask(request, one_page=one_page))
    if session.json:
        document(peers)
        return
    print_peers(peers.peers)
    for line in hidden(peers.hidden):
        print(line)


def print_peers(peers: Iterable[Peer]) -> None:
    """A table of peers, or that there is none."""
    rows = [row(peer) for peer in peers]
    if not rows:
        print(NOBODY)
        return
    print_table(HEADS, rows)
    sys.stdout.flush()


def row(peer: Peer) -> list[str]:
    """A peer in a table."""
    since = max(int(time.time() * 1000) - peer.connected_at, 0)
    return [
        cell("", peer.address) + " (you)" * peer.self_,
        peer.role,
        peer.status,
        peer.transport,
        f"{peer.in_flight}/{peer.capacity}",
        written(since),
        cell("", peer.summary) if peer.summary else "",
    ]


def hidden(counts: Mapping[Role, int]) -> list[str]:
    """The last line: who is there and not shown."""
    said = [f"{count} {role}" for role, count in counts.items() if count]
    peers = "peer" if sum(counts.values()) == 1 else "peers"
    return [f"{' and '.join(said)} {peers} hidden: --all shows everybody"] if said else []


class Watch:
    """What a watch has shown so far, and how it shows a change."""

    def __init__(self, request: ListPeers, *, json: bool) -> None:
        self.request = request
        self.json = json
        self.there: set[str] = set()
        self.synced = False

    def change(self, event: PeerJoined | PeerLeft | PeerChanged) -> None:
        """A peer that is asked for has joined, left or changed."""
        left = isinstance(event, PeerLeft)
        known = event.peer.presence in self.there
        (self.there.discard if left else self.there.add)(event.peer.presence)
        if self.json:
            document(event)
            return
        what = "joined" if self.synced else "is there"
        what = "left" if left else "changed" if known else what
        address, role, status, transport, held, _, summary = row(event.peer)
        facts = "" if left else f"  {role}  {status}  {transport}  {held}  {summary}"
        print(f"{address} {what}{facts}".rstrip(), flush=True)
        if left and not self.there:
            print(NOBODY, flush=True)

    def sync(self, counts: Mapping[Role, int]) -> None:
        """Everybody who was there has been shown."""
        if not self.synced and not self.json:
            for line in ([] if self.there else [NOBODY]) + hidden(counts):
                print(line, flush=True)
        self.synced = True


def _tell_losses() -> None:
    """Say on standard error when the broker is away: silence would look like a quiet mesh."""
    log = logging.getLogger("postroom.client")
    told = logging.StreamHandler()
    told.setFormatter(logging.Formatter("postroom: %(message)s"))
    log.addHandler(told)
    log.setLevel(logging.INFO)


async def _watch(me: Client, request: ListPeers, *, json: bool) -> None:
    """Every change, from the first list on, until the reader has seen enough."""
    from clients import Reconnected

    _tell_losses()
    shown = request.roles or [role for role in ROLES if role != "control-plane"]
    on = WatchPeers(on=True, roles=shown)
    watch = Watch(request, json=json)
    reader = me.events(PeerJoined, PeerLeft, PeerChanged, PeerSynced, Reconnected)
    await call(me, on)
    async for event in reader:
        if isinstance(event, Reconnected):
            # A presence that was resumed is still told of every change.
            if not event.welcome.resumed:
                await call(me, on)
        elif isinstance(event, PeerSynced):
            counted = cast("Peers", await call(me, request)).hidden
            watch.sync(counted)
            if json:
                document(event)
        elif isinstance(event, PeerJoined | PeerLeft | PeerChanged) and _wanted(
            event.peer, request
        ):
            watch.change(event)


def _wanted(peer: Peer, request: ListPeers) -> bool:
    if request.member is not None and peer.member != request.member:
        return False
    group = request.group
    return group is None or any(one == group or one.startswith(f"{group}/") for one in peer.groups)


LIST: Final = Command(
    (ListPeers.__doc__ or "").strip(),
    [
        *(
            one.replace(kind=one.KEYWORD_ONLY)
            for one in arguments(fields_of(ListPeers), frozenset())
        ),
        option("all", bool, "every role, control planes too"),
        option("watch", bool, "go on and tell every change; with --json a document for each"),
    ],
    list_peers,
)

assert issubclass(ListPeers, msgspec.Struct)
