"""The ways in which a presence ends or its connection is lost.

Owns: bye, loss, the end of the lease, and being made to leave. What it held is mail's to take back,
which hears of it:

    presence.away    its connection is gone or another one has taken over; it is still there
    presence.left    it has left, or was made to: what it held goes back without blame
    presence.lapsed  it was away for too long: what it held goes back as the leases end
"""

from __future__ import annotations

from typing import Final

from broker.areas.directory import boxes
from broker.areas.presence import show
from broker.areas.presence.drains import redrain
from broker.core.conversation import Conversation
from broker.core.house import Mailbox, Presence, Token
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.frames import Answer
from broker.wire.presence import Bye

sql = Queries(__file__)
DELETE = sql.take("delete")
SEEN = sql.take("seen")
sql.close()

operations = Operations()

NORMAL: Final = 1000


@operations.handle(Bye, drains=True)
def bye(turn: Turn, caller: Presence, request: Bye) -> Answer:
    """Leave; a final one also closes the session's own mailbox."""
    depart(turn, caller, NORMAL, "bye", final=request.final)
    return Answer()


def depart(
    turn: Turn,
    presence: Presence,
    code: int,
    reason: str,
    *,
    quiet: bool = False,
    final: bool = False,
    keep: Mailbox | None = None,
) -> None:
    """End a presence and its connection. What it holds goes back without blame.

    `quiet` when another takes its place, `keep` the mailbox which that one goes on with.
    """
    unplug(turn, presence, code, reason)
    _remove(turn, presence)
    redrain(turn, presence)
    turn.tell("presence.left", presence)
    if not quiet:
        show.left(turn, presence)
    _leave_box(turn, presence.box, final=final, keep=keep)


@operations.on("token.ended")
def token_ended(turn: Turn, token: Token, code: int, reason: str) -> None:
    """Without its token nobody is here."""
    for presence in tuple(token.member.presences.values()):
        if presence.token == token.id:
            depart(turn, presence, code, reason)


def lost(turn: Turn, conversation: Conversation) -> None:
    """A connection is gone without bye: the presence stays, away, for its lease."""
    presence = conversation.presence
    if presence is None:
        return
    turn.put(presence, "last_seen_at", show.last_seen(turn, presence))
    turn.later(SEEN, (presence.last_seen_at, presence.id))
    unplug(turn, presence)
    turn.put(presence, "leaves_at", turn.now + turn.settings.presence.lease_ms)
    turn.house.absence_ends.remind(turn, presence.leaves_at, presence.id)
    redrain(turn, presence)
    show.changed(turn, presence)


def unplug(turn: Turn, presence: Presence, code: int | None = None, reason: str = "") -> None:
    """Part a presence from its connection, and end what belongs to the connection."""
    conversation = presence.conversation
    if conversation is None:
        return
    turn.tell("presence.away", presence)
    turn.put(conversation, "presence", None)
    turn.put(conversation, "parting", True)
    turn.put(presence, "conversation", None)
    turn.put(presence, "watches", None)
    turn.strike(presence.mesh.watchers, presence.id)
    if code is not None:
        turn.close(conversation, code, reason)


@operations.sweep
def end_leases(turn: Turn) -> None:
    """Whoever was away for too long has left."""
    house = turn.house
    for id in house.absence_ends.due(turn):
        presence = house.presences.get(id)
        if presence is None or presence.conversation is not None or presence.leaves_at > turn.now:
            continue
        _remove(turn, presence)
        redrain(turn, presence)
        for claim in presence.held.values():
            turn.put(claim, "presence", None)
        turn.put(presence, "held", {})
        turn.tell("presence.lapsed", presence)
        show.left(turn, presence)
        _leave_box(turn, presence.box)


def _remove(turn: Turn, presence: Presence) -> None:
    turn.run(DELETE, (presence.id,))
    member = presence.member
    turn.strike(member.presences, presence.id)
    turn.strike(turn.house.presences, presence.id)
    if presence.session is not None:
        turn.strike(member.labels, presence.session)


def _leave_box(
    turn: Turn, box: Mailbox, *, final: bool = False, keep: Mailbox | None = None
) -> None:
    """What becomes of a session's mailbox when its presence has left."""
    if box.session is None or box is keep:
        return
    if final or not box.chosen:
        boxes.close(turn, box, "session_closed")
    else:
        boxes.vacate(turn, box)
