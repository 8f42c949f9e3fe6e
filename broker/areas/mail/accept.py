"""Accepting a send: resolved, numbered, stored and, where somebody is ready, claimed at birth.

Owns: what a message and its deliveries are when they begin. One message row, one delivery row for
each mailbox reached, in the transaction of the request. Decides everything before it changes
anything, so that a refusal leaves nothing behind.
"""

from __future__ import annotations

from typing import Final

import msgspec

from broker.areas.mail.handover import born_claimed, ready_drainer
from broker.areas.mail.numbers import take_numbers
from broker.areas.mail.targets import Reached, resolve, transport
from broker.config import SECOND
from broker.core.house import Mailbox, Member, Presence
from broker.core.operations import Operations
from broker.core.queue import Letter, Parcel
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.fields import MAX_META_BYTES, NULL
from broker.wire.mail import Content, Copy, Send, Sent

sql = Queries(__file__)
INSERT_MESSAGE = sql.take("insert_message")
INSERT_RARE_MESSAGE = sql.take("insert_rare_message")
INSERT_QUEUED = sql.take("insert_queued")
INSERT_REFUSED = sql.take("insert_refused")
RECORD_STRETCH = sql.take("record_stretch")
sql.close()

PRIORITIES: Final = {"critical": 100, "task": 50, "info": 10}
OWN_KINDS: Final = ("system.", "dispatch.", "delegation.")
LISTED: Final = 100
STRETCH_BITS: Final = 14  # a stretch of 16,384 numbers is looked through in about a millisecond
BURST_SECONDS: Final = 5


def accept(turn: Turn, caller: Presence, content: Send | Content, answers: int = 0) -> Sent:
    """Store a message with its deliveries; `answers` is the acked message that it may answer."""
    settings = turn.settings
    if len(content.body) > settings.limits.body:
        raise Refused("too_large", f"body: over {settings.limits.body} bytes")
    kind = content.kind
    if kind != "message":
        _check_kind(kind)
    named = content.priority
    priority = named if type(named) is int else PRIORITIES[str(named)]
    meta = None if content.meta is NULL else _meta(content.meta)
    member = caller.member
    if content.key is not None:
        before = recall(turn, caller, content, priority, meta)
        if before is not None:
            return before
    reached = resolve(member.mesh, caller.box, content.to)
    reply_to = None
    if content.reply_to is not None:
        reply_to = known_message(turn, member, content.reply_to)
    if reply_to is None or reply_to != answers:
        _check_depth(reached, settings.mail.max_depth)
    mail = settings.mail
    ttl = content.ttl_ms
    if ttl is None:
        ttl = mail.ttl_ms if priority >= 50 else mail.info_ttl_ms
    to = content.to
    letter = Letter(
        take_numbers(turn, max(len(reached), 1)),
        caller.box.address,
        to if type(to) is str else msgspec.json.encode(to).decode(),
        kind,
        priority,
        bytes(content.body),
        meta,
        reply_to,
        turn.now,
        content.max_attempts or mail.max_attempts,
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
        letter.body,
        turn.now,
        len(reached),
        letter.max_attempts,
    )
    if meta is None and reply_to is None and not content.receipt:
        turn.later(INSERT_MESSAGE, row)
    else:
        turn.later(INSERT_RARE_MESSAGE, (*row, int(content.receipt), reply_to, meta))
    copies = deliver(turn, letter, reached, turn.now + ttl, content.delay_ms)
    if content.key is not None:
        remember(turn, caller, content, letter, priority, meta)
    return Sent(
        message=f"m{letter.id}", seq=letter.id, total=len(reached), deliveries=copies
    )


def deliver(
    turn: Turn, letter: Letter, reached: Reached, expires_at: int, delay_ms: int = 0
) -> list[Copy]:
    """One delivery in each mailbox: in its drainer's hands at once, or in the queue."""
    seq = letter.id + 1
    copies: list[Copy] = []
    for box, (target, direct) in reached.items():
        if seq >> STRETCH_BITS != box.stretch:
            turn.put(box, "stretch", seq >> STRETCH_BITS)
            turn.later(RECORD_STRETCH, (box.id, box.stretch))
        written = None if target == letter.target else target
        presence = None if delay_ms else ready_drainer(box, letter.priority)
        if presence is not None:
            born_claimed(turn, letter, seq, box, presence, expires_at, written)
            copy = Copy(
                delivery=f"d{seq}",
                to=box.address,
                state="claimed",
                queued=False,
                depth=0,
                transport="online",
            )
        elif not direct and box.unfinished >= turn.settings.mail.max_depth:
            copy = _born_expired(turn, letter, seq, box, expires_at, written)
        else:
            copy = _enqueue(turn, letter, seq, box, expires_at, delay_ms, written)
        if len(copies) < LISTED:
            copies.append(copy)
        seq += 2
    return copies


def _enqueue(
    turn: Turn,
    letter: Letter,
    seq: int,
    box: Mailbox,
    expires_at: int,
    delay_ms: int,
    written: str | None,
) -> Copy:
    due_at = turn.now + delay_ms if delay_ms else None
    row = (seq, box.id, letter.id, letter.priority, expires_at, due_at, written)
    turn.later(INSERT_QUEUED, row)
    turn.put(box, "unfinished", box.unfinished + 1)
    turn.wake_at(min(expires_at, due_at or expires_at))
    depth = box.queue.ahead(letter.priority)
    if due_at is None:
        ready(turn, Parcel(seq, box, letter, expires_at, written))
    return Copy(
        delivery=f"d{seq}",
        to=box.address,
        state="queued",
        queued=True,
        depth=depth,
        transport=transport(box),
    )


def ready(turn: Turn, parcel: Parcel) -> None:
    """Count a delivery that may be handed over from now on."""
    queue = parcel.box.queue
    turn.undo(queue.recount, parcel.letter.priority, -1)
    queue.count(parcel.letter.priority, 1)
    if parcel.box.drainers or parcel.box.waiters:
        queue.keep(parcel)
        turn.stirred.append(parcel.box)


operations = Operations()


@operations.handle(Send, hot=True)
def send(turn: Turn, caller: Presence, request: Send) -> Sent:
    """Send a body to members, sessions, groups, topics or everybody."""
    spend_allowance(turn, caller.member, 1)
    return accept(turn, caller, request)


def spend_allowance(turn: Turn, member: Member, sends: int) -> None:
    """Take from the member's allowance of sends, or refuse."""
    rate = turn.settings.limits.send_rate
    member.allowance -= sends
    if member.allowance >= 0 or not rate:
        return
    most = rate * BURST_SECONDS
    gained = (turn.now - member.allowed_at) * rate / SECOND
    had = member.allowance + sends
    member.allowance = min(had + gained, most) if member.allowed_at else most
    member.allowed_at = turn.now
    if member.allowance < sends:
        missing = sends - member.allowance
        raise Refused(
            "rate_limited",
            f"more than {rate} sends a second",
            retry_after_ms=int(missing * SECOND / rate) + 1,
        )
    member.allowance -= sends


def _check_kind(kind: str) -> None:
    if kind == "receipt" or kind.startswith(OWN_KINDS):
        raise Refused("forbidden", f"kind: {kind!r} is the broker's own")


def _meta(raw: msgspec.Raw) -> bytes | None:
    meta = bytes(raw)
    if len(meta) > MAX_META_BYTES:
        raise Refused("too_large", f"meta: over {MAX_META_BYTES} bytes")
    return None if meta == b"null" else meta


def _check_depth(reached: Reached, most: int) -> None:
    for box, (_, direct) in reached.items():
        if direct and box.unfinished >= most:
            raise Refused(
                "mailbox_full",
                f"{box.address} holds {most} unfinished deliveries",
                detail={"mailbox": box.address},
                retry_after_ms=SECOND,
            )


def _born_expired(
    turn: Turn, letter: Letter, seq: int, box: Mailbox, expires_at: int, written: str | None
) -> Copy:
    """A full mailbox that was reached through a group: the copy is there, and has ended."""
    row = (seq, box.id, letter.id, letter.priority, expires_at, turn.now, written)
    turn.later(INSERT_REFUSED, row)
    return Copy(
        delivery=f"d{seq}",
        to=box.address,
        state="expired",
        queued=False,
        depth=0,
        transport=transport(box),
    )


def known_message(turn: Turn, member: Member, written: str) -> int:
    raise NotImplementedError


def recall(turn, caller, content, priority, meta):
    raise NotImplementedError


def remember(turn, caller, content, letter, priority, meta):
    raise NotImplementedError
