"""What a presence says of itself: its status, summary and capacity.

Owns: the description of a presence, as a hello gives it and as an update changes it.
"""

from __future__ import annotations

from msgspec import UNSET

from broker.areas.presence import show
from broker.areas.presence.drains import redrain
from broker.core.house import TAKES_FROM, Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.frames import Answer
from broker.wire.presence import Hello, UpdatePresence

sql = Queries(__file__)
UPDATE = sql.take("update")
sql.close()

operations = Operations()


@operations.handle(UpdatePresence, drains=True)
def update_presence(turn: Turn, caller: Presence, request: UpdatePresence) -> Answer:
    """Change one's own status, summary or capacity; an empty one is a sign of life."""
    before = show.seen(caller)
    describe(turn, caller, request)
    turn.put(caller, "last_seen_at", turn.now)
    if show.seen(caller) != before:
        turn.run(UPDATE, (caller.status, caller.summary, caller.capacity, turn.now, caller.id))
        redrain(turn, caller)
        turn.tell("presence.updated", caller)
        show.changed(turn, caller)
    return Answer()


def describe(turn: Turn, presence: Presence, request: Hello | UpdatePresence) -> None:
    """Take over what a request says of a presence; what it does not say stays."""
    if request.status is not UNSET:
        turn.put(presence, "status", request.status)
        turn.put(presence, "takes_from", TAKES_FROM[request.status])
    if request.summary is not UNSET:
        turn.put(presence, "summary", request.summary)
    if request.capacity is not UNSET:
        turn.put(presence, "capacity", request.capacity)
    if isinstance(request, Hello):
        if request.host is not UNSET:
            turn.put(presence, "host", request.host)
        if request.client is not UNSET:
            client = request.client
            turn.put(presence, "client_name", client.name if client else None)
            turn.put(presence, "client_version", client.version if client else None)
