"""The list of peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rig import Peer, rig


async def listed(peer: Peer, **request: Any) -> list[str]:
    """Who is listed, by address and role."""
    answer = await peer.ask("peer.list", **request)
    return [f"{one['address']} {one['role']}" for one in answer["peers"]]


async def test_control_planes_are_hidden_and_counted(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        await r.join("bob", role="service")
        await r.join("bob", role="control-plane")
        await r.join("alice", role="control-plane")
        answer = await alice.ask("peer.list")
        assert answer["hidden"] == {"control-plane": 2}
        assert answer["next"] is None
        assert await listed(alice) == ["alice/s1 session", "bob service"]
        assert (await alice.ask("peer.list", roles=["service"]))["hidden"] == {}
        assert await listed(alice, roles=["control-plane", "service"]) == [
            "bob service",
            "bob control-plane",
            "alice control-plane",
        ]
        assert await listed(alice, roles=[]) == []


async def test_the_filters(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1", groups=["@team/a"])
        await r.join("bob", role="service", groups=["@team", "#news"])
        await r.join("bob", role="control-plane")
        await r.join("carol", role="control-plane", groups=["@teams"])
        assert await listed(alice, member="bob") == ["bob service"]
        assert (await alice.ask("peer.list", member="bob"))["hidden"] == {"control-plane": 1}
        assert await listed(alice, member="nobody") == []
        assert await listed(alice, group="@team") == ["alice/s1 session", "bob service"]
        assert await listed(alice, group="@team/a") == ["alice/s1 session"]
        assert await listed(alice, group="#news") == ["bob service"]
        # With the member's mailbox all its presences but sessions are in its groups.
        assert (await alice.ask("peer.list", group="#news"))["hidden"] == {"control-plane": 1}
        assert await listed(alice, group="@tea") == []
        both = {"group": "@teams", "roles": ["control-plane"]}
        assert await listed(alice, **both) == ["carol control-plane"]


async def test_one_sees_oneself_and_those_who_are_away(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        bob = await r.join("bob", role="service")
        await alice.ask("mail.send", to="bob", body=1)
        await bob.lose()
        one, other = (await alice.ask("peer.list"))["peers"]
        assert (one["self"], one["transport"], one["in_flight"]) == (True, "online", 0)
        assert (other["self"], other["transport"], other["in_flight"]) == (False, "away", 1)


async def test_nobody_of_another_mesh_is_there(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", token=made["token"], mesh="far", role="service")
        await far.ask("peer.watch", on=True)
        assert [e["ev"] for e in far.events()] == ["peer.synced"]
        await r.join("alice", session="s1")
        assert far.events() == []
        assert await listed(far) == ["owner service"]


async def test_the_list_comes_in_pages(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peers = [await r.join("alice", session=f"s{n}") for n in range(5)]
        first = await peers[0].ask("peer.list", limit=2)
        await peers[1].ask("bye")
        second = await peers[0].ask("peer.list", limit=2, after=first["next"])
        third = await peers[0].ask("peer.list", limit=2, after=second["next"])
        pages = [[one["session"] for one in page["peers"]] for page in (first, second, third)]
        assert pages == [["s0", "s1"], ["s2", "s3"], ["s4"]]
        assert third["next"] is None


@pytest.mark.parametrize(
    "after", ["", "x", "peer:", "peer:x", "peer:-1", "peer:" + "9" * 40, "peer:\u00b2", "group:@a"]
)
async def test_a_broken_cursor_is_a_bad_request(tmp_path: Path, after: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        error = await alice.refused("bad_request", "peer.list", after=after)
        assert "after" in error["message"]


async def test_a_page_fits_a_frame(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__body=1_024, limits__frame=70_000) as r:
        for number in range(12):
            await r.join("alice", session=f"s{number}", summary="\x01" * 4_096)
        owner = await r.join("owner", role="service")
        found: list[str] = []
        after = None
        while True:
            page = await owner.ask("peer.list", after=after)
            found += [one["address"] for one in page["peers"]]
            after = page["next"]
            if after is None:
                break
        assert len(found) == 13
        assert max(len(raw) for raw in owner.line.raw) <= 70_000
