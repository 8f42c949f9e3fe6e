"""Handing over: which presence gets which delivery, when, and how it is told.

Owns: who may take mail, the claim, the push. Whatever changes what is deliverable stirs a mailbox;
after each request the stirred ones are matched here. Never claims for a connection that is gone.
"""

from __future__ import annotations

from typing import Final

from broker.areas.mail.numbers import claim_number
from broker.areas.mail.told import CRITICAL, push, push_newborn
from broker.core.house import Claim, House, Mailbox, Presence
from broker.core.operations import Operations
from broker.core.queue import KEPT_BODY, WINDOW, Letter, Parcel
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.store.sqlite import Row
from broker.wire.errors import Refused

sql = Queries(__file__)
INSERT_CLAIMED = sql.take("insert_claimed")
INSERT_CLAIMED_OF_MANY = sql.take("insert_claimed_of_many")
CLAIM = sql.take("claim")
HEAD = sql.take("head")
BODY = sql.take("body")
sql.close()

operations = Operations()


SHORTEST_LEASE_MS: Final = 1_000
BEYOND: Final = 16
"""How many critical deliveries a full presence is handed beyond its capacity."""
ROUND: Final = 256
"""How many deliveries are handed over before others get their turn."""
ROUND_BYTES: Final = 1_024 * 1_024
"""How much of them: whether an outbox is full is known when the last round has left."""


# -- who may take ------------------------------------------------------------------------------


def takes(presence: Presence, priority: int) -> bool:
    """Whether this presence may be handed a delivery of this priority now."""
    conversation = presence.conversation
    if conversation is None or conversation.full or priority < presence.takes_from:
        return False
    room = presence.capacity - len(presence.held)
    return room > 0 or (priority >= CRITICAL and room > -BEYOND)


def best(drainers: tuple[Presence, ...], priority: int) -> Presence | None:
    """Of those who may take it, the one with most room."""
    able = [presence for presence in drainers if takes(presence, priority)]
    return max(able, key=lambda one: one.capacity - len(one.held), default=None)


def ready_drainer(box: Mailbox, priority: int) -> Presence | None:
    """Who takes a new delivery at once: somebody with room, before whom nothing else stands."""
    drainers = box.drainers
    if len(drainers) == 1:
        presence = drainers[0] if takes(drainers[0], priority) else None
    else:
        presence = best(drainers, priority)
    if presence is not None:
        for drained in presence.drains:
            if drained.queue.ready and drained.queue.ahead(priority):
                return None
    return presence


# -- the claim ---------------------------------------------------------------------------------


def born_claimed(
    turn: Turn,
    letter: Letter,
    seq: int,
    box: Mailbox,
    presence: Presence,
    expires_at: int,
    written: str | None,
) -> Claim:
    """Store a new delivery as claimed already, and push it from memory."""
    claim = hold(turn, seq, seq, letter, box, presence, turn.settings.mail.lease_ms, born=1)
    row = (
        seq,
        box.id,
        letter.id,
        letter.priority,
        expires_at,
        presence.id,
        turn.now,
        claim.expires_at,
    )
    if written is None:
        turn.later(INSERT_CLAIMED, row)
    else:
        turn.later(INSERT_CLAIMED_OF_MANY, (*row, written))
    push_newborn(turn, claim, letter, written, presence)
    return claim


def claim_parcel(turn: Turn, parcel: Parcel, presence: Presence, lease_ms: int) -> Claim:
    """Phase one for a delivery that waited."""
    letter, box = parcel.letter, parcel.box
    number = claim_number(turn)
    claim = hold(turn, parcel.seq, number, letter, box, presence, lease_ms)
    queue = box.queue
    turn.undo(queue.recount, letter.priority, 1)
    queue.count(letter.priority, -1)
    queue.drop(parcel.seq)
    parcel.claims += 1
    turn.later(CLAIM, (number, presence.id, turn.now, claim.expires_at, parcel.seq))
    if letter.body is None:
        row = turn.one(BODY, (letter.id,))
        assert row is not None
        letter.body = row[0]
    return claim


def hold(
    turn: Turn,
    seq: int,
    number: int,
    letter: Letter,
    box: Mailbox,
    presence: Presence,
    lease_ms: int,
    born: int = 0,
) -> Claim:
    """Remember who holds a delivery, and until when."""
    expires_at = turn.now + lease_ms
    delivery = f"d{seq}"
    claim = Claim(
        seq,
        delivery,
        number,
        f"c{number}",
        box,
        presence,
        box.member,
        letter.id,
        expires_at,
        letter.plain,
    )
    remember(turn, claim, presence, born)
    if lease_ms != turn.settings.mail.lease_ms:
        turn.house.remind_of(claim)
        turn.wake_at(expires_at)
    elif expires_at < turn.wake:
        turn.wake = expires_at
    if not letter.plain and letter.kind in turn.hooks:
        turn.hooks[letter.kind].on_claimed(turn, letter.id)
    return claim


def remember(turn: Turn, claim: Claim, presence: Presence, born: int = 0) -> None:
    """Put a claim where it is looked for."""
    house = turn.house
    turn.journal.append((unhold, house, claim, born))
    claim.box.unfinished += born
    house.claims[claim.delivery] = presence.held[claim.delivery] = claim


def lease_of(asked: int | None, usual: int) -> int:
    """The lease that a client asks for, or the usual one."""
    least = min(SHORTEST_LEASE_MS, usual)
    if asked is not None and asked < least:
        raise Refused("bad_request", f"lease_ms: at least {least}, not {asked}")
    return usual if asked is None else asked


def unhold(house: House, claim: Claim, done: int = 0) -> None:
    """Forget that a delivery is held; with `done` it is no unfinished one any more."""
    claim.box.unfinished -= done
    del house.claims[claim.delivery]
    if claim.presence is not None:
        del claim.presence.held[claim.delivery]


# -- the match ---------------------------------------------------------------------------------


@operations.settle
def match_stirred(turn: Turn) -> None:
    """Hand over what has become deliverable in the mailboxes that were stirred."""
    for box in tuple(dict.fromkeys(turn.stirred)):
        match(turn, box)


def match(turn: Turn, box: Mailbox) -> None:
    """Hand over from a mailbox while there is mail and somebody to take it."""
    size = 0
    for _ in range(ROUND):
        if size > ROUND_BYTES:
            break
        parcel = head(turn, box)
        if parcel is None:
            return
        presence = best(box.drainers, parcel.letter.priority)
        if presence is None:
            return
        chosen = first_for(turn, presence)
        assert chosen is not None
        claim = claim_parcel(turn, chosen, presence, turn.settings.mail.lease_ms)
        push(turn, claim, chosen.letter, chosen.target, presence, chosen.failures, chosen.claims)
        size += len(chosen.letter.body or b"")
    turn.again.append(lambda later: later.stirred.append(box))


def first_for(turn: Turn, presence: Presence) -> Parcel | None:
    """Of all that this presence drains: highest priority, then its own mailbox, then oldest."""
    found: list[tuple[int, bool, int, Parcel]] = []
    for box in presence.drains:
        parcel = head(turn, box)
        if parcel is not None and takes(presence, parcel.letter.priority):
            own = box is presence.box
            found.append((-parcel.letter.priority, not own, parcel.seq, parcel))
    return min(found)[3] if found else None


def head(turn: Turn, box: Mailbox) -> Parcel | None:
    """The delivery of a mailbox that is handed over next, if there is one.

    One whose time is over is not handed over: the sweep that is due now ends it, and stirs.
    """
    queue = box.queue
    if not queue.ready:
        return None
    if not queue.window:
        refill(turn, box)
    parcel = queue.window[0][2]
    if parcel.expires_at <= turn.now:
        turn.wake_at(turn.now)
        return None
    return parcel


def letter_of(row: Row, plain: bool) -> Letter:
    """A message as it was stored."""
    id, sender, target, kind, priority, body, meta, reply_to, sent_at, max_attempts = row
    return Letter(
        id, sender, target, kind, priority, body, meta, reply_to, sent_at, max_attempts, plain
    )


def refill(turn: Turn, box: Mailbox) -> None:
    """Read the first of what waits. Big bodies stay where they are until their turn."""
    rows = turn.all(HEAD, (KEPT_BODY, box.id, box.ended_through, WINDOW))
    for row in rows:
        letter = letter_of(row[5:15], not row[15] and row[8] not in turn.hooks)
        parcel = Parcel(row[0], box, letter, row[1], row[2], row[3], row[4])
        box.queue.window.append((-letter.priority, parcel.seq, parcel))
