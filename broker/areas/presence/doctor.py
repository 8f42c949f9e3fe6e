"""What can be wrong with presences and groups on disk, and what mends it.

Owns: the checks of presence's tables. A presence that is deleted has only left: its claims run for
their leases, and whoever it was says hello again.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.areas.directory.doctor import open_mailboxes
from broker.doctor import Case, Finding, check, mend
from broker.store.queries import Queries

sql = Queries(__file__)
PRESENCES = sql.take("presences")
DELETE_PRESENCE = sql.take("delete_presence")
MEMBERSHIPS = sql.take("memberships")
DELETE_MEMBERSHIPS = sql.take("delete_memberships")
sql.close()


@check("presence.mailboxes")
def mailboxes(case: Case) -> Iterator[Finding]:
    """Who is here is at an open mailbox."""
    there = open_mailboxes(case)
    for id, mailbox_id in case.database.all(PRESENCES):
        if mailbox_id not in there:
            repair = mend("delete it", DELETE_PRESENCE, id)
            yield Finding(f"p{id}", f"its mailbox {mailbox_id} is closed or gone", repair)


@check("presence.groups")
def groups(case: Case) -> Iterator[Finding]:
    """Who is in a group is an open mailbox."""
    there = open_mailboxes(case)
    for (mailbox_id,) in case.database.all(MEMBERSHIPS):
        if mailbox_id not in there:
            repair = mend("delete them", DELETE_MEMBERSHIPS, mailbox_id)
            yield Finding(f"memberships of mailbox {mailbox_id}", "it is closed or gone", repair)
