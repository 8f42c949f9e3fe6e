"""Groups and topics: joining, leaving, what peers see of it, and when a membership ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from presence_watch import told, watching
from rig import rig


async def test_a_session_joins_with_its_own_mailbox_the_others_with_the_members(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        session = await r.join("alice", session="s1")
        service = await r.join("alice", role="service")
        await session.ask("group.join", group="@a")
        await service.ask("group.join", group="@b")
        for group, address in (("@a", "alice/s1"), ("@b", "alice")):
            sent = await owner.ask("mail.send", to=group, body=1)
            assert [copy["to"] for copy in sent["deliveries"]] == [address]


async def test_what_a_group_reaches(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service", groups=["@team"])
        await r.join("alice", role="service", groups=["@team/backend", "#news"])
        await r.join("bob", role="service", groups=["@team/backend/db", "@teamwork"])
        for group, names in (
            ("@team", ["alice", "bob"]),
            ("@team/backend", ["alice", "bob"]),
            ("@team/backend/db", ["bob"]),
            ("#news", ["alice"]),
            ("@nobody", []),
        ):
            sent = await owner.ask("mail.send", to=group, body=1)
            assert [copy["to"] for copy in sent["deliveries"]] == names
            assert sent["total"] == len(names)


@pytest.mark.parametrize(
    "group",
    ["team", "@", "#", "@Team", "@a//b", "@a/", "#a/b", "@a b", "@" + "/".join("abcdefghi"), "*"],
)
async def test_a_name_that_is_none_is_named(tmp_path: Path, group: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        error = await alice.refused("bad_request", "group.join", group=group)
        assert "group" in error["message"]


async def test_the_list_shows_ones_own_groups(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1", groups=["@team"])
        bob = await r.join("bob", role="service", groups=["@team", "@team/x", "@other"])
        await alice.ask("group.join", group="#news", label="Nouvelles")
        assert await alice.ask("group.list") == {
            "groups": [
                {"group": "#news", "label": "Nouvelles", "members": 1},
                {"group": "@team", "label": None, "members": 2},
            ],
            "next": None,
        }
        await alice.ask("group.leave", group="@team")
        assert len((await alice.ask("group.list"))["groups"]) == 1
        assert (await bob.ask("group.list", limit=1, after="group:@team"))["groups"] == [
            {"group": "@team/x", "label": None, "members": 1}
        ]


async def test_the_list_comes_in_pages(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        longest = "@" + "/".join(["x" * 64] * 8)
        names = sorted([f"#t{n}" for n in range(300)] + [longest])
        for name in names:
            await alice.ask("group.join", group=name)
        found, after = [], None
        while True:
            page = await alice.ask("group.list", limit=150, after=after)
            found += [group["group"] for group in page["groups"]]
            after = page["next"]
            if after is None:
                break
        assert found == names
        after = f"group:{longest}"
        assert (await alice.ask("group.list", after=after))["next"] is None


@pytest.mark.parametrize("after", ["x", "", "peer:1", "group:", "@team"])
async def test_a_broken_cursor_is_a_bad_request(tmp_path: Path, after: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        error = await alice.refused("bad_request", "group.list", after=after)
        assert "after" in error["message"]


async def test_leaving_a_group_that_one_is_not_in(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        service = await r.join("alice", role="service", groups=["@team"])
        await alice.refused("not_found", "group.leave", group="@team")
        assert await service.ask("group.leave", group="@team") == {}


async def test_watchers_see_one_change_per_presence_whose_groups_changed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        session = await r.join("alice", session="s1")
        services = [await r.join("alice", role="service") for _ in range(2)]
        watcher.events()
        both = sorted(("peer.changed", one.welcome["presence"]) for one in services)
        await services[0].ask("group.join", group="@team")
        assert sorted(told(watcher)) == both
        await services[1].ask("group.join", group="@team")  # the mailbox is in it already
        await services[1].ask("group.join", group="@team", label="new")
        assert told(watcher) == []
        await services[1].ask("group.leave", group="@team")
        assert sorted(told(watcher)) == both
        await session.ask("group.join", group="@team")
        assert told(watcher) == [("peer.changed", session.welcome["presence"])]


async def test_a_membership_lasts_as_long_as_the_mailbox(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        chosen = await r.join("alice", session="s1", groups=["@team"])
        given = await r.join("bob", groups=["@team"])
        await chosen.ask("bye")
        await given.ask("bye")
        sent = await owner.ask("mail.send", to="@team", body=1)
        assert [copy["to"] for copy in sent["deliveries"]] == ["alice/s1"]
        await r.restart()
        owner = await r.join("owner", role="service")
        sent = await owner.ask("mail.send", to="@team", body=2)
        assert [copy["to"] for copy in sent["deliveries"]] == ["alice/s1"]
        back = await r.join("alice", session="s1")
        assert (await back.ask("group.list"))["groups"][0]["group"] == "@team"
        await back.ask("bye", final=True)
        assert r.rows("SELECT * FROM memberships") == []
        assert r.broker.house.meshes["default"].groups == {}


async def test_the_names_of_ones_groups_fit_a_frame(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        prefix = "@" + "/".join(["x" * 64] * 7)
        for number in range(71):
            await alice.ask("group.join", group=f"{prefix}/{number}")
        await alice.refused("too_large", "group.join", group=f"{prefix}/last")
        await alice.ask("group.join", group=f"{prefix}/0", label="mine already")
        await alice.ask("group.leave", group=f"{prefix}/1")
        await alice.ask("group.join", group=f"{prefix}/last")


async def test_groups_of_another_mesh_are_others(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await r.join("alice", role="service", groups=["@team"])
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", token=made["token"], mesh="far", groups=["@team"])
        assert (await far.ask("group.list"))["groups"][0]["members"] == 1
        assert (await owner.ask("mail.send", to="@team", body=1))["total"] == 1
