"""Mail that the broker itself sends: receipts, and what later nouns have to tell.

Owns: `post`. Such mail is never refused for a mailbox's depth: it is part of a change that stands.
"""

from __future__ import annotations

from broker.areas.mail.deliver import deliver
from broker.areas.mail.numbers import take_numbers
from broker.core.house import SYSTEM, Mailbox
from broker.core.queue import Letter
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
INSERT_MESSAGE = sql.take("insert_message")
sql.close()


def post(
    turn: Turn,
    box: Mailbox,
    kind: str,
    body: bytes,
    *,
    priority: int = 50,
    sender: Mailbox | None = None,
    reply_to: int | None = None,
) -> int:
    """Send one mail into a mailbox, in the name of `sender` or of the broker; its number."""
    letter = Letter(
        take_numbers(turn, 1),
        SYSTEM if sender is None else sender.address,
        box.address,
        kind,
        priority,
        body,
        None,
        reply_to,
        turn.now,
        turn.settings.mail.max_attempts,
        kind not in turn.hooks,
    )
    turn.later(
        INSERT_MESSAGE,
        (
            letter.id,
            box.member.mesh.id,
            None if sender is None else sender.member.id,
            None if sender is None else sender.id,
            letter.sender,
            letter.target,
            kind,
            priority,
            body,
            turn.now,
            1,
            letter.max_attempts,
            reply_to,
        ),
    )
    deliver(turn, letter, [(box, box.address, True)], turn.now + turn.settings.mail.ttl_ms)
    return letter.id
