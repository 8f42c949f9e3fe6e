"""Accepting a send: resolved, numbered, stored and, where somebody is ready, claimed at birth.

Owns: what a message and its deliveries are when they begin. One message row, one delivery row for
each mailbox reached, in the transaction of the request. Decides everything before it changes
anything, so that a refusal leaves nothing behind.
"""

from __future__ import annotations

from typing import Final

import msgspec

from broker.areas.mail.deliver import deliver, life_ms
from broker.areas.mail.ending import tell_refused
from broker.areas.mail.keys import recall, remember
from broker.areas.mail.numbers import take_numbers
from broker.areas.mail.records import known_message
from broker.areas.mail.targets import resolve
from broker.config import SECOND
from broker.core.house import Mailbox, Member, Presence
from broker.core.queue import Letter
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.fields import MAX_META_BYTES, NULL
from broker.wire.mail import Content, Send, Sent

sql = Queries(__file__)
INSERT_MESSAGE = sql.take("insert_message")
INSERT_RARE_MESSAGE = sql.take("insert_rare_message")
sql.close()

PRIORITIES: Final = {"critical": 100, "task": 50, "info": 10}
OWN_KINDS: Final = ("system.", "dispatch.", "delegation.")
BURST_SECONDS: Final = 5


def accept(turn: Turn, caller: Presence, content: Send | Content, answers: int = 0) -> Sent:
    """Store a message with its deliveries; `answers` is the acked message that it may answer."""
    settings = turn.settings
    if len(content.body) > settings.limits.body:
        raise Refused("too_large", f"body: over {settings.limits.body} bytes")
    kind = content.kind
    if kind != "message":
        _check_kind(kind)
    priority = content.priority
    if isinstance(priority, str):
        priority = PRIORITIES[priority]
    meta = None if content.meta is NULL else _meta(content.meta)
    member = caller.member
    if content.key is not None:
        before = recall(turn, caller, content, priority)
        if before is not None:
            member.allowance += 1
            return before
    reached = resolve(member.mesh, caller.box, content.to)
    reply_to = None
    if content.reply_to is not None:
        reply_to = known_message(turn, member, content.reply_to)
    if not answers or reply_to != answers:
        for box, _, direct in reached:
            if direct and box.unfinished >= settings.mail.max_depth:
                raise _full(box)
    else:
        reached = [(box, target, True) for box, target, _ in reached]
    to = content.to
    body = bytearray(content.body)  # bytes would go through sqlite3's slow adaption
    letter = Letter(
        take_numbers(turn, max(len(reached), 1)),
        caller.box.address,
        to if type(to) is str else msgspec.json.encode(to).decode(),
        kind,
        priority,
        body,
        meta,
        reply_to,
        turn.now,
        content.max_attempts or settings.mail.max_attempts,
        not content.receipt and kind not in turn.hooks,
    )
    row = (
        letter.id,
        member.mesh.id,
        member.id,
        caller.box.id,
        letter.sender,
        letter.target,
        kind,
        priority,
        body,
        turn.now,
        len(reached),
        letter.max_attempts,
    )
    if meta is None and reply_to is None and not content.receipt:
        turn.later(INSERT_MESSAGE, row)
    else:
        turn.later(INSERT_RARE_MESSAGE, (*row, int(content.receipt), reply_to, meta))
    ttl_ms = content.ttl_ms
    expires_at = turn.now + (life_ms(turn, priority) if ttl_ms is None else ttl_ms)
    copies = deliver(turn, letter, reached, expires_at, content.delay_ms)
    if not letter.plain and not all(direct for _, _, direct in reached):
        tell_refused(turn, letter.id, len(reached))
    if content.key is not None:
        remember(turn, caller, content, letter.id, priority)
    return Sent(f"m{letter.id}", letter.id, len(reached), copies)


def priority_of(content: Send | Content) -> int:
    """The priority as a number."""
    named = content.priority
    return named if isinstance(named, int) else PRIORITIES[named]


def spend_allowance(turn: Turn, member: Member, sends: int) -> None:
    """Take from the member's allowance of sends, or refuse."""
    rate = turn.settings.limits.send_rate
    if not rate:
        return
    most = rate * BURST_SECONDS
    if member.allowed_at != turn.now:
        gained = (turn.now - member.allowed_at) * rate / SECOND
        member.allowance = min(member.allowance + gained, most)
        member.allowed_at = turn.now
    missing = min(sends, most) - member.allowance  # more at once than fit become a debt
    if missing > 0:
        raise Refused(
            "rate_limited",
            f"more than {rate} sends a second",
            retry_after_ms=int(missing * SECOND / rate) + 1,
        )
    turn.undo(setattr, member, "allowance", member.allowance)
    member.allowance -= sends


def _check_kind(kind: str) -> None:
    if kind == "receipt" or kind.startswith(OWN_KINDS):
        raise Refused("forbidden", f"kind: {kind!r} is the broker's own")


def _meta(raw: msgspec.Raw) -> bytes | None:
    meta = bytes(raw)
    if len(meta) > MAX_META_BYTES:
        raise Refused("too_large", f"meta: over {MAX_META_BYTES} bytes")
    return None if meta == b"null" else meta


def _full(box: Mailbox) -> Refused:
    return Refused(
        "mailbox_full",
        f"{box.address} holds {box.unfinished} unfinished deliveries",
        detail={"mailbox": box.address},
        retry_after_ms=SECOND,
    )
