"""Idempotency: the same key with the same content is the same message.

Owns: keys and the hash of the content they stand for. A key belongs to its sender's member; with
`dedupe: window` it lasts for `mail.dedupe_ms`, with `active` until all its deliveries have ended,
and never longer than the window.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from broker.areas.directory.boxes import address_of
from broker.areas.mail.deliver import life_ms
from broker.areas.mail.targets import transport
from broker.core.house import Presence
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.mail import Content, Copy, Send, Sent

sql = Queries(__file__)
FIND = sql.take("find")
FORGET = sql.take("forget")
REMEMBER = sql.take("remember")
FORGET_OLD = sql.take("forget_old")
STATES = sql.take("states")
UNFINISHED = sql.take("unfinished")
AHEAD = sql.take("ahead")
TOTAL = sql.take("total")
sql.close()

COUNTED: Final = 1_000
"""How many are counted that would be handed over before one that was sent earlier."""
LISTED: Final = 100


def content_of(turn: Turn, content: Send | Content, priority: int) -> bytes:
    """The hash of all that is content, the very bytes of the body among it.

    What is written out as it would be by default is no other content.
    """
    most = turn.settings.mail.max_attempts
    told = msgspec.json.encode(
        (
            content.to,
            content.kind,
            priority,
            None if content.ttl_ms == life_ms(turn, priority) else content.ttl_ms,
            content.delay_ms,
            content.reply_to,
            content.receipt,
            None if content.max_attempts == most else content.max_attempts,
        )
    )
    digest = sha256(b"%d:" % len(told) + told)
    meta = bytes(content.meta)
    digest.update(b"%d:" % len(meta) + meta)
    digest.update(content.body)
    return digest.digest()


def recall(turn: Turn, caller: Presence, content: Send | Content, priority: int) -> Sent | None:
    """The first answer to this key with today's states, or None if the key is free."""
    sender = caller.member.id
    row = turn.one(FIND, (sender, content.key))
    if row is None:
        return None
    known, message, active, expires_at = row
    total = turn.one(TOTAL, (message,))
    free = expires_at <= turn.now or total is None
    if active and not free:
        free = turn.one(UNFINISHED, (message, total[0] if total else 0)) is None
    if free or total is None:
        turn.run(FORGET, (sender, content.key))
        return None
    if known != content_of(turn, content, priority):
        raise Refused("key_conflict", f"key: {content.key!r} was used for another content")
    return _as_it_stands(turn, message, total[0], duplicate=True)


def remember(
    turn: Turn,
    caller: Presence,
    content: Send | Content,
    message: int,
    priority: int,
) -> None:
    """Hold the key for this message."""
    turn.later(
        REMEMBER,
        (
            caller.member.id,
            content.key,
            content_of(turn, content, priority),
            message,
            content.dedupe == "active",
            turn.now + turn.settings.mail.dedupe_ms,
        ),
    )


def forget_old(turn: Turn, most: int) -> bool:
    """Let go of keys whose time is over; whether there may be more."""
    return turn.run(FORGET_OLD, (turn.now, most)) == most


def answer(turn: Turn, message: int) -> Sent:
    """The answer to a send that is stored, as its deliveries stand now."""
    row = turn.one(TOTAL, (message,))
    return _as_it_stands(turn, message, row[0] if row else 0)


def _as_it_stands(turn: Turn, message: int, total: int, *, duplicate: bool = False) -> Sent:
    copies: list[Copy] = []
    for seq, mailbox_id, state, priority, due_at in turn.all(STATES, (message, total, LISTED)):
        box = turn.house.boxes.get(mailbox_id)
        depth = 0
        if state == "queued" and due_at is None:
            row = turn.one(AHEAD, (mailbox_id, priority, seq, COUNTED))
            depth = min(row[0], COUNTED) if row else 0
        copies.append(
            Copy(
                delivery=f"d{seq}",
                to=address_of(turn, mailbox_id) if box is None else box.address,
                state=state,
                queued=state == "queued",
                depth=depth,
                transport="offline" if box is None else transport(box),
            )
        )
    return Sent(
        message=f"m{message}", seq=message, total=total, deliveries=copies, duplicate=duplicate
    )
