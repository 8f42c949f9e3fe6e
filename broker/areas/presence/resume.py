"""Resuming: a hello with a good resume value takes its presence up again.

Owns: what a value is bound to and how long it is good. A value names its presence and proves it; it
is replaced at each hello. The one before stays good until a further frame has come on the new
connection: until then nobody knows whether the answer with the new one has arrived.
"""

from __future__ import annotations

from typing import Final

from broker.areas.directory import boxes
from broker.areas.presence.leave import unplug
from broker.areas.presence.update import describe
from broker.clock import digest, same_digest
from broker.core.conversation import Conversation
from broker.core.house import Presence, Token
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.presence import Hello

sql = Queries(__file__)
RESUME = sql.take("resume")
SPEND = sql.take("spend")
sql.close()

REPLACED: Final = 4409


def resumable(token: Token, request: Hello) -> Presence | None:
    """The presence that the hello's value takes up again; a bad value spends nothing.

    A hello for another role or another label is for another presence, whatever value it brings.
    """
    number, _, secret = (request.resume or "").partition(".")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        return None
    presence = token.member.presences.get(int(number))
    if (
        presence is None
        or presence.token != token.id
        or presence.role != request.role
        or presence.observe != request.observe
        or (request.session is not None and presence.session != request.session)
    ):
        return None
    value = digest(secret)
    good = same_digest(value, presence.resume)
    if not good and presence.previous is not None:
        good = same_digest(value, presence.previous)
    return presence if good else None


def resume(turn: Turn, presence: Presence, request: Hello, value: bytes) -> None:
    """Take a presence up again; what the hello does not say stays as it was.

    It is the same presence: `connected_at` stays the instant at which it came.
    """
    unplug(turn, presence, REPLACED, "resumed by another connection")
    if request.session is not None and presence.box.session is not None:
        boxes.choose(turn, presence.box)
    describe(turn, presence, request)
    _, _, secret = (request.resume or "").partition(".")
    turn.put(presence, "previous", digest(secret))
    turn.put(presence, "resume", value)
    turn.put(presence, "last_seen_at", turn.now)
    turn.run(
        RESUME,
        (
            presence.status,
            presence.summary,
            presence.capacity,
            presence.host,
            presence.client_name,
            presence.client_version,
            value,
            presence.previous,
            turn.house.node,
            turn.house.incarnation,
            turn.now,
            presence.id,
        ),
    )


def spend(turn: Turn, presence: Presence, conversation: Conversation) -> None:
    """A further frame came on the new connection: the value before is of no use any more."""
    if presence.previous is not None and presence.conversation is conversation:
        turn.put(presence, "previous", None)
        turn.run(SPEND, (presence.id,))
