"""What the broker remembers: who is found where, and what a new house begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig import rig

from broker.core.holders import Mailbox, Presence
from broker.core.house import DEFAULT_MESH, House, Member, Mesh
from broker.wire.fields import Access


def member(mesh: Mesh, id: int, name: str, access: Access = "member") -> Member:
    one = Member(id, mesh, name, access, frozenset(), None, 0)
    one.box = Mailbox(id, one, None, chosen=False)
    mesh.members[name] = one
    return one


def present(one: Member, id: int) -> Presence:
    presence = Presence(id, one, one.box, "service", "t1")
    one.presences[id] = presence
    return presence


def test_a_mesh_lists_the_presences_of_all_its_members() -> None:
    mesh, other = Mesh(1, "default", 0), Mesh(2, "other", 0)
    ann, bob = member(mesh, 1, "ann"), member(mesh, 2, "bob")
    here = [present(ann, 1), present(ann, 2), present(bob, 3)]
    here[1].observe = True
    present(member(other, 3, "carol"), 4)
    assert list(mesh.presences()) == here
    assert list(Mesh(3, "empty", 0).presences()) == []


@pytest.mark.parametrize(
    ("access", "steers"), [("owner", True), ("admin", True), ("member", False)]
)
def test_who_steers(access: Access, steers: bool) -> None:
    assert member(Mesh(1, "default", 0), 1, "ann", access).steers is steers


def test_two_houses_share_nothing() -> None:
    one, other = House(), House()
    one.meshes["default"] = Mesh(1, "default", 0)
    one.waiters.clear()
    one.leases.append((1, 1, 1))
    assert other.meshes == {}
    assert other.leases == []
    assert (other.next_number, other.number_mark) == (1, 1)


async def test_a_restart_remembers_whom_it_knew(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("ann")
        house = r.broker.house
        known, boxes, tokens = (
            set(house.meshes[DEFAULT_MESH].members),
            {box.address for box in house.boxes.values() if box.session is None},
            set(house.tokens),
        )
        incarnation, number = house.incarnation, house.next_number
        await r.restart()
        house = r.broker.house
        assert (
            known == {"owner", "ann", "postroom"} & known == set(house.meshes[DEFAULT_MESH].members)
        )
        assert boxes == {box.address for box in house.boxes.values() if box.session is None}
        assert tokens == set(house.tokens)
        assert house.incarnation > incarnation
        assert house.next_number >= number, "a number is never given twice"
