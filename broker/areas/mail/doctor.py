"""What can be wrong with mail on disk, and what mends it.

Owns: the checks of mail's tables: orphans, the counter that numbers everything, claims, what lists
rely on. What a message has lost cannot be mended: it is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.areas.directory.doctor import all_mailboxes
from broker.areas.mail.deliver import STRETCH_BITS
from broker.doctor import Case, Finding, check, mend
from broker.store.queries import Queries

sql = Queries(__file__)
MESSAGE_ORPHANS = sql.take("message_orphans")
DELETE_OF_MESSAGE = sql.take("delete_of_message")
MAILBOXES = sql.take("mailboxes")
DELETE_OF_MAILBOX = sql.take("delete_of_mailbox")
STRAY_HISTORY = sql.take("stray_history")
DELETE_STRAY_HISTORY = sql.take("delete_stray_history")
STRAY_KEYS = sql.take("stray_keys")
DELETE_STRAY_KEYS = sql.take("delete_stray_keys")
INCOMPLETE = sql.take("incomplete")
MISNUMBERED = sql.take("misnumbered")
EVEN_MESSAGES = sql.take("even_messages")
LAST_NUMBER = sql.take("last_number")
MARK = sql.take("mark")
SET_MARK = sql.take("set_mark")
UNHELD = sql.take("unheld")
RELEASE = sql.take("release")
ENDLESS = sql.take("endless")
END_NOW = sql.take("end_now")
UNLISTED = sql.take("unlisted")
ADD_STRETCH = sql.take("add_stretch")
sql.close()


@check("mail.orphans")
def orphans(case: Case) -> Iterator[Finding]:
    """A delivery has a message and a mailbox; history has a delivery, a key a message."""
    for message, count in case.database.all(MESSAGE_ORPHANS):
        repair = mend("delete them", DELETE_OF_MESSAGE, message)
        yield Finding(f"{count} deliveries of m{message}", "the message is gone", repair)
    there = all_mailboxes(case)
    for mailbox_id, count in case.database.all(MAILBOXES):
        if mailbox_id not in there:
            repair = mend("delete them", DELETE_OF_MAILBOX, mailbox_id)
            subject = f"{count} deliveries in mailbox {mailbox_id}"
            yield Finding(subject, "the mailbox is gone", repair)
    if count := _count(case, STRAY_HISTORY):
        repair = mend("delete them", DELETE_STRAY_HISTORY)
        yield Finding(f"{count} steps of history", "their deliveries are gone", repair)
    # A key that is over may outlive its message: both are purged, each in its own time.
    if count := _count(case, STRAY_KEYS, case.now):
        repair = mend("delete them", DELETE_STRAY_KEYS)
        yield Finding(f"{count} keys", "their messages are gone", repair)


@check("mail.totals")
def totals(case: Case) -> Iterator[Finding]:
    """A message has as many deliveries as it says, until the purge takes the first of them.

    The purge says up to when it has taken what had ended: what was sent later is spared by it.
    """
    for message, total, count in case.database.all(INCOMPLETE):
        yield Finding(f"m{message}", f"it had {total} deliveries and has {count}")


@check("mail.numbers")
def numbers(case: Case) -> Iterator[Finding]:
    """Messages are odd, their deliveries the even numbers behind them, and none comes twice."""
    for (message,) in case.database.all(EVEN_MESSAGES):
        yield Finding(f"m{message}", "a message's number is odd")
    for seq, message in case.database.all(MISNUMBERED):
        yield Finding(f"d{seq}", f"this is no number of a delivery of m{message}")
    last, row = _count(case, LAST_NUMBER), case.database.one(MARK)
    mark = row[0] if row is not None else 1
    if last >= mark:
        after = last + 1 + last % 2
        repair = mend(f"go on at {after}", SET_MARK, after)
        yield Finding("the counter", f"it would give {mark} again, and {last} is taken", repair)


@check("mail.claims")
def claims(case: Case) -> Iterator[Finding]:
    """What is claimed has a claim, a holder and an end of its lease; what has ended, an end."""
    for (seq,) in case.database.all(UNHELD):
        yield Finding(f"d{seq}", "it is claimed by nobody", mend("queue it", RELEASE, seq))
    for seq, state in case.database.all(ENDLESS):
        repair = mend("let it have ended now", END_NOW, case.now, seq)
        yield Finding(f"d{seq}", f"it is {state}, but nobody knows since when", repair)


@check("mail.stretches")
def stretches(case: Case) -> Iterator[Finding]:
    """What lists look through knows where each mailbox has deliveries."""
    for mailbox_id, stretch, count in case.database.all(UNLISTED, (STRETCH_BITS,)):
        repair = mend("list them", ADD_STRETCH, mailbox_id, stretch)
        yield Finding(f"{count} deliveries in mailbox {mailbox_id}", "no list shows them", repair)


def _count(case: Case, statement: str, *values: int) -> int:
    row = case.database.one(statement, values)
    assert row is not None
    return int(row[0])
