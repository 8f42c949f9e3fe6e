"""The start: who was here before it, and who is in which group.

Owns: reading presence's tables whole. After a start every presence is away, with a fresh lease, and
its resume value is good.
"""

from __future__ import annotations

from broker.core.house import TAKES_FROM, Presence
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
MEMBERSHIPS = sql.take("memberships")
LAST_SEEN = sql.take("last_seen")
PRESENCES = sql.take("presences")
sql.close()


def last_seen(turn: Turn) -> int:
    """The last instant that stands with any presence."""
    row = turn.one(LAST_SEEN)
    return row[0] if row and row[0] else 0


def load(turn: Turn) -> None:
    """Take up the presences that are on disk. The directory is there already."""
    house = turn.house
    for mailbox_id, name, label in turn.all(MEMBERSHIPS):
        box = house.boxes[mailbox_id]
        box.groups[name] = label
        box.member.mesh.groups.setdefault(name, {})[box] = label
    leaves_at = turn.now + turn.settings.presence.lease_ms
    for row in turn.all(PRESENCES):
        id, mailbox_id, role, session, observe, status = row[:6]
        box = house.boxes[mailbox_id]
        presence = Presence(id, box.member, box, role, row[11])
        presence.session, presence.observe, presence.status = session, bool(observe), status
        presence.takes_from = TAKES_FROM[status]
        presence.summary, presence.capacity, presence.host = row[6:9]
        presence.client_name, presence.client_version = row[9:11]
        presence.resume, presence.previous = row[12:14]
        presence.connected_at, presence.last_seen_at = row[14:16]
        presence.leaves_at = leaves_at
        box.member.presences[id] = house.presences[id] = presence
        if session is not None:
            box.member.labels[session] = presence
        house.absence_ends.remind(turn, leaves_at, id)
