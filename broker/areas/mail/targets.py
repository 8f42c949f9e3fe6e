"""Whom a target reaches: members, sessions, groups, topics, everybody who is there.

Owns: the resolution of `to` into mailboxes, once, when a send is accepted. Reads memory only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from broker.core.house import SYSTEM, Mailbox, Member, Mesh, Presence
from broker.wire.errors import Refused
from broker.wire.fields import MAX_GROUP_SEGMENTS, MAX_TARGETS, NAME
from broker.wire.mail import Transport

ADDRESS: Final = re.compile(rf"{NAME}(/{NAME})?")
GROUP: Final = re.compile(rf"#{NAME}|@{NAME}(/{NAME}){{0,{MAX_GROUP_SEGMENTS - 1}}}")

MANY: Final = ("*", "@", "#")

Reached = list[tuple[Mailbox, str, bool]]
"""Mailboxes with the target that reached each first, and whether it was named directly."""


def address(mesh: Mesh, written: str, field: str = "to") -> Mailbox:
    """The open mailbox of an address."""
    name, slash, session = written.partition("/")
    member = mesh.members.get(name)
    if member is not None:
        if not slash:
            return member.box
        box = member.sessions.get(session)
        if box is not None:
            return box
    if not ADDRESS.fullmatch(written):
        wanted = "an address, group or topic" if field == "to" else "an address"
        raise Refused("bad_request", f"{field}: {written[:200]!r} is not {wanted}")
    code = "not_found" if field == "mailbox" else "unknown_recipient"
    if name == SYSTEM:
        raise Refused(code, f"{field}: {SYSTEM} is the broker itself and has no mailbox")
    what = "no open mailbox" if slash and member is not None else "no member"
    raise Refused(code, f"{field}: {written!r} names {what} of mesh {mesh.name!r}")


def mailbox_of(caller: Presence, written: str) -> Mailbox:
    """A mailbox that the caller may look into and clear: its member's, or any for an admin."""
    box = address(caller.mesh, written, field="mailbox")
    if box.member is not caller.member and not caller.member.steers:
        raise Refused("forbidden", f"mailbox: {written!r} is not yours")
    return box


def resolve(mesh: Mesh, own: Mailbox, to: str | list[str]) -> Reached:
    """All mailboxes that the targets reach, each once, in the order in which they are reached."""
    if isinstance(to, str):
        if to[:1] not in MANY:
            return [(address(mesh, to), to, True)]
        return [(box, to, False) for box in many(mesh, own, to)]
    if len(to) > MAX_TARGETS:
        raise Refused("too_large", f"to: at most {MAX_TARGETS} targets, not {len(to)}")
    reached: dict[Mailbox, tuple[str, bool]] = {}
    for written in to:
        direct = written[:1] not in MANY
        for box in (address(mesh, written),) if direct else many(mesh, own, written):
            first, named = reached.get(box, (written, direct))
            reached[box] = (first, named or direct)
    return [(box, written, direct) for box, (written, direct) in reached.items()]


def many(mesh: Mesh, own: Mailbox, written: str) -> Iterator[Mailbox]:
    """The mailboxes of a group, a topic or everybody, without the sender's own."""
    if written == "*":
        boxes = everybody(mesh)
    elif GROUP.fullmatch(written):
        boxes = members_of(mesh, written)
    else:
        raise Refused("bad_request", f"to: {written[:200]!r} is not an address, group or topic")
    return (box for box in boxes if box is not own)


def everybody(mesh: Mesh) -> Iterable[Mailbox]:
    """The mailbox of every presence that is there, away included."""
    return dict.fromkeys(one.box for one in mesh.presences() if not one.observe)


def members_of(mesh: Mesh, group: str) -> Iterable[Mailbox]:
    """Who is in a group or one of its subgroups, or in a topic."""
    boxes = dict.fromkeys(mesh.groups.get(group, ()))
    if group[0] == "@":
        below = group + "/"
        for name, inside in mesh.groups.items():
            if name.startswith(below):
                boxes.update(dict.fromkeys(inside))
    return boxes


def transport(box: Mailbox) -> Transport:
    """Whether the recipient is there, as the answer to a send tells it."""
    if box.drainers:
        return "online"
    member: Member = box.member
    found: Transport = "offline"
    for presence in member.presences.values():
        if presence.observe or (box.session is not None and presence.box is not box):
            continue
        if presence.conversation is not None:
            return "online"
        found = "away"
    return found
