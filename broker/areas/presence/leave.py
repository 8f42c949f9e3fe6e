"""The ways in which a presence ends or its connection is lost.

Owns: bye, loss, the end of the lease, and being made to leave. What it held is mail's to take back.
"""

from __future__ import annotations

from typing import Final

from broker.areas.directory import boxes
from broker.areas.presence import show
from broker.areas.presence.drains import before_redrain, redrain
from broker.core.conversation import Conversation
from broker.core.house import Mailbox, Presence, Token
from broker.core.operations import Operations
from broker.core.turn import FAR, Turn
from broker.store.queries import Queries
from broker.wire.frames import Answer
from broker.wire.presence import Bye

sql = Queries(__file__)
DELETE = sql.take("delete")
sql.close()

operations = Operations()

NORMAL: Final = 1000
REPLACED: Final = 4409


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
    conversation = presence.conversation
    before_redrain(turn, presence.member)
    if conversation is not None:
        turn.put(conversation, "presence", None)
        turn.close(conversation, code, reason)
    turn.put(presence, "conversation", None)
    _remove(turn, presence)
    turn.tell("presence.left", presence)
    if not quiet:
        show.left(turn, presence)
    _leave_box(turn, presence.box, final=final, keep=keep)
    redrain(turn, presence.member)


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
    before_redrain(turn, presence.member)
    turn.put(conversation, "presence", None)
    turn.put(presence, "conversation", None)
    turn.put(presence, "watches", None)
    turn.strike(presence.mesh.watchers, presence.id)
    turn.put(presence, "last_seen_at", turn.now)
    turn.put(presence, "leaves_at", turn.now + turn.settings.presence.lease_ms)
    turn.wake_at(presence.leaves_at)
    redrain(turn, presence.member)
    show.changed(turn, presence)


@operations.sweep
def end_leases(turn: Turn) -> None:
    """Whoever was away for too long has left. What it holds goes back as the leases end."""
    next_end = FAR
    for presence in tuple(turn.house.presences.values()):
        if presence.conversation is not None:
            continue
        if presence.leaves_at > turn.now:
            next_end = min(next_end, presence.leaves_at)
            continue
        before_redrain(turn, presence.member)
        _remove(turn, presence)
        for claim in presence.held.values():
            turn.put(claim, "presence", None)
        turn.put(presence, "held", {})
        show.left(turn, presence)
        _leave_box(turn, presence.box)
        redrain(turn, presence.member)
    turn.wake_at(next_end)


def _remove(turn: Turn, presence: Presence) -> None:
    turn.run(DELETE, (presence.id,))
    turn.strike(presence.member.presences, presence.id)
    turn.strike(turn.house.presences, presence.id)
    turn.strike(presence.mesh.watchers, presence.id)


def _leave_box(
    turn: Turn, box: Mailbox, *, final: bool = False, keep: Mailbox | None = None
) -> None:
    """What becomes of a session's mailbox when its presence has left."""
    if box.session is None or box is keep or box.closed:
        return
    if any(one.box is box for one in box.member.presences.values()):
        return
    if final or not box.chosen:
        boxes.close(turn, box, "session_closed")
    else:
        boxes.vacate(turn, box)
        turn.wake_at(turn.now + turn.settings.mail.retention_ms)
