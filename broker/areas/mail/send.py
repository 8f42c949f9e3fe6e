"""The operation `mail.send`: the straight way, which nearly every one goes, and the general one.

Owns: the straight way, for what asks for nothing out of the ordinary, from one address whose
drainer takes it at once. It costs half of what `accept` costs, does what `accept` would do, and a
test holds it to that (docs/decisions/0007).
"""

from __future__ import annotations

from typing import Final

from broker.areas.mail.accept import accept, spend_allowance
from broker.areas.mail.deliver import STRETCH_BITS, WORK, record_stretch
from broker.areas.mail.handover import remember, takes
from broker.areas.mail.numbers import take_numbers
from broker.areas.mail.targets import MANY, address
from broker.areas.mail.told import frame, newborn_terms
from broker.core.house import Claim, Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.fields import NULL
from broker.wire.mail import Copy, Send, Sent

sql = Queries(__file__)
INSERT_ORDINARY = sql.take("insert_ordinary")
INSERT_ITS_DELIVERY = sql.take("insert_its_delivery")
sql.close()

operations = Operations()

KIND: Final = "message"
PRIORITY: Final = WORK
PRIORITY_NAME: Final = "task"


@operations.handle(Send, hot=True)
def send(turn: Turn, caller: Presence, request: Send) -> Sent:
    """Send a body to members, sessions, groups, topics or everybody."""
    if turn.settings.limits.send_rate:
        spend_allowance(turn, caller.member, 1)
    return straight(turn, caller, request) or accept(turn, caller, request)


def straight(turn: Turn, caller: Presence, request: Send) -> Sent | None:
    """Accept what is ordinary in every way; what is not is left, untouched, to `accept`."""
    to, settings = request.to, turn.settings
    if (
        type(to) is not str
        or request.key is not None
        or request.kind != KIND
        or (request.priority != PRIORITY and request.priority != PRIORITY_NAME)
        or request.ttl_ms is not None
        or request.delay_ms
        or request.reply_to is not None
        or request.meta is not NULL
        or request.receipt
        or request.max_attempts is not None
        or len(request.body) > settings.limits.body
    ):
        return None
    member, mail = caller.member, settings.mail
    other = member.mesh.members.get(to)
    if other is None and to[:1] in MANY:
        return None
    box = address(member.mesh, to) if other is None else other.box
    drainers = box.drainers
    if len(drainers) != 1 or box.unfinished >= mail.max_depth or not takes(drainers[0], PRIORITY):
        return None
    presence = drainers[0]
    for drained in presence.drains:
        if drained.queue.ready:
            return None
    conversation = presence.conversation
    assert conversation is not None

    id = take_numbers(turn, 1)
    seq, now, sender = id + 1, turn.now, caller.box.address
    body = bytearray(request.body)  # bytes would go through sqlite3's slow adaption
    row = id, member.mesh.id, member.id, caller.box.id, sender, to, body, now, mail.max_attempts
    turn.later(INSERT_ORDINARY, row)
    if seq >> STRETCH_BITS != box.stretch:
        record_stretch(turn, box, seq >> STRETCH_BITS)
    ends = now + mail.lease_ms
    turn.later(INSERT_ITS_DELIVERY, (seq, box.id, now + mail.ttl_ms, presence.id, now, ends))
    delivery = f"d{seq}"
    claim = Claim(seq, delivery, seq, f"c{seq}", box, presence, box.member, id, ends, True)
    remember(turn, claim, presence, born=1)
    if ends < turn.wake:
        turn.wake = ends
    terms = newborn_terms(turn, KIND, PRIORITY, mail.max_attempts)
    turn.pushes.append((conversation, frame(claim, sender, to, terms, body, None, None)))
    return Sent(f"m{id}", id, 1, [Copy(delivery, box.address, "claimed", False, 0, "online")])
