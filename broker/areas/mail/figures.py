"""How much mail there is: deliveries by state, and the mailboxes in which most of it waits.

Owns: the counting. What waits is known by memory and taken from there; how old it is, and what has
ended, only the rows tell.
"""

from __future__ import annotations

from typing import Final, NamedTuple, get_args

from broker.core.house import House, Mailbox, Mesh
from broker.store.queries import Queries
from broker.store.sqlite import Look
from broker.wire.mail import DeliveryState

sql = Queries(__file__)
ALL = sql.take("all")
ENDING = sql.take("ending")
QUEUED = sql.take("queued")
DEAD = sql.take("dead")
GONE = sql.take("gone")
STATES_OF = sql.take("states_of")
OLDEST = sql.take("oldest")
SENT_AT = sql.take("sent_at")
sql.close()

DEEPEST: Final = 10
STATE_NAMES: Final = get_args(DeliveryState)


class Deep(NamedTuple):
    """A mailbox with unfinished mail, as memory knows it."""

    mailbox_id: int
    address: str
    depth: int
    priorities: tuple[int, ...]
    """Which of them are ready to be handed over."""
    ended_through: int
    oldest_held: int | None


def deepest(house: House, mesh: Mesh) -> list[Deep]:
    """The mailboxes of a mesh with the most unfinished deliveries, the fullest first."""
    filled = [box for box in open_boxes(mesh) if box.unfinished]
    filled.sort(key=lambda box: (-box.unfinished, box.address))
    chosen = filled[:DEEPEST]
    held: dict[Mailbox, int] = {}
    for claim in house.claims.values():
        if claim.box in chosen:
            held[claim.box] = min(claim.seq, held.get(claim.box, claim.seq))
    return [
        Deep(
            box.id,
            box.address,
            box.unfinished,
            tuple(box.queue.counts),
            box.ended_through,
            held.get(box),
        )
        for box in chosen
    ]


def open_boxes(mesh: Mesh) -> list[Mailbox]:
    """All open mailboxes of a mesh."""
    return [
        box for member in mesh.members.values() for box in (member.box, *member.sessions.values())
    ]


def unfinished(house: House, mesh: Mesh) -> tuple[int, int]:
    """How many deliveries of a mesh wait, and how many are in somebody's hands."""
    claimed = sum(claim.member.mesh is mesh for claim in house.claims.values())
    return sum(box.unfinished for box in open_boxes(mesh)) - claimed, claimed


def by_state(look: Look, mesh_id: int) -> dict[DeliveryState, int]:
    """Deliveries of a mesh by state: every row is looked at, a million in a second."""
    counts: dict[DeliveryState, int] = dict.fromkeys(STATE_NAMES, 0)
    counts.update(look.all(STATES_OF, (mesh_id,)))
    return counts


def all_by_state(look: Look, queued: int, claimed: int) -> dict[DeliveryState, int]:
    """The same for a mesh that is alone on this broker, forty times as fast.

    All rows are counted without being looked at; memory knows the unfinished, indexes the rare, and
    the others have been acked.
    """
    counts: dict[DeliveryState, int] = dict.fromkeys(STATE_NAMES, 0)
    counts.update(look.all(GONE))
    counts["queued"], counts["claimed"] = queued, claimed
    if look.one(ENDING):  # what stands in a closed mailbox is no longer in memory
        ((counts["queued"],),) = look.all(QUEUED)
    ((counts["dead"],),) = look.all(DEAD)
    ((total,),) = look.all(ALL)
    counts["acked"] = max(total - sum(counts.values()), 0)
    return counts


def oldest_sent_at(look: Look, deep: Deep) -> int | None:
    """When the oldest delivery was sent that is ready or in somebody's hands."""
    seqs = [] if deep.oldest_held is None else [deep.oldest_held]
    for priority in deep.priorities:
        row = look.one(OLDEST, (deep.mailbox_id, priority, deep.ended_through))
        if row is not None:
            seqs.append(row[0])
    row = look.one(SENT_AT, (min(seqs),)) if seqs else None
    return None if row is None else row[0]
