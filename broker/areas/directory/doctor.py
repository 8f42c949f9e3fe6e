"""What can be wrong with meshes, members, tokens and mailboxes on disk, and what mends it.

Owns: the checks of the directory's tables, and which mailboxes there are for the checks of others.
A repair gives nobody a right that was not there: what would need that is left to a person.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from broker.doctor import Case, Database, Finding, Repair, check, mend
from broker.store.queries import Queries

sql = Queries(__file__)
STRAYED_MEMBERS = sql.take("strayed_members")
BOXLESS = sql.take("boxless")
REOPEN = sql.take("reopen")
GIVE_BOX = sql.take("give_box")
TYPES = sql.take("types")
OWNERLESS = sql.take("ownerless")
STRAY_TOKENS = sql.take("stray_tokens")
PARENTLESS = sql.take("parentless")
DELETE_TOKEN = sql.take("delete_token")
STRAY_BOXES = sql.take("stray_boxes")
DELETE_BOX = sql.take("delete_box")
OPEN_BOXES = sql.take("open_boxes")
ALL_BOXES = sql.take("all_boxes")
sql.close()


def open_mailboxes(case: Case) -> frozenset[int]:
    """The mailboxes that somebody may be at."""
    return frozenset(id for (id,) in case.database.all(OPEN_BOXES))


def all_mailboxes(case: Case) -> frozenset[int]:
    """The mailboxes that may hold mail: it outlives its mailbox's closing."""
    return frozenset(id for (id,) in case.database.all(ALL_BOXES))


@check("directory.meshes")
def meshes(case: Case) -> Iterator[Finding]:
    """A mesh without an owner can't be steered; who is to be it is not for a program to say."""
    for (name,) in case.database.all(OWNERLESS):
        yield Finding(f"mesh {name}", "it has no owner")


@check("directory.members")
def members(case: Case) -> Iterator[Finding]:
    """A member is in a mesh, has a mailbox of its own, and a list of agent types."""
    for id, name in case.database.all(STRAYED_MEMBERS):
        yield Finding(f"member {name} ({id})", "its mesh is gone")
    for id, name in case.database.all(BOXLESS):
        yield Finding(f"member {name} ({id})", "it has no mailbox", _box_for(id, case.now))
    for id, name, types in case.database.all(TYPES):
        if not _is_list_of_texts(types):
            yield Finding(f"member {name} ({id})", "its agent types can't be read")


def _box_for(member_id: int, now: int) -> Repair:
    def do(database: Database) -> None:
        if not database.run(REOPEN, (member_id,)):
            database.run(GIVE_BOX, (member_id, now))

    return Repair("give it one", do)


def _is_list_of_texts(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        return False
    return True


@check("directory.tokens")
def tokens(case: Case) -> Iterator[Finding]:
    """A token is a present member's, and so is the token that it came from."""
    for (id,) in case.database.all(STRAY_TOKENS):
        yield Finding(f"token {id}", "its member is gone", mend("delete it", DELETE_TOKEN, id))
    for (id,) in case.database.all(PARENTLESS):
        repair = mend("delete it", DELETE_TOKEN, id)
        yield Finding(f"token {id}", "the token that it came from is gone", repair)


@check("directory.mailboxes")
def mailboxes(case: Case) -> Iterator[Finding]:
    """A mailbox is somebody's, or was."""
    for (id,) in case.database.all(STRAY_BOXES):
        yield Finding(f"mailbox {id}", "its member is gone", mend("delete it", DELETE_BOX, id))
