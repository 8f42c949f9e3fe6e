"""Meshes: isolated worlds, made and listed by the owners of the first."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig import START, rig


async def test_the_first_start_makes_the_mesh_and_its_owner(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        assert await owner.ask("mesh.list") == {
            "meshes": [{"mesh": "default", "created_at": START, "members": 1}],
            "next": None,
        }
        assert (tmp_path / "owner.token").stat().st_mode & 0o777 == 0o600
        token = (tmp_path / "owner.token").read_text()
        await r.restart()
        assert (tmp_path / "owner.token").read_text() == token
        assert len(r.broker.house.meshes) == 1


async def test_a_new_mesh_has_its_own_owner(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = await owner.ask("mesh.create", mesh="far")
        assert (made["mesh"], made["member"]) == ("far", "owner")
        far = await r.join("owner", mesh="far", token=made["token"], role="service")
        assert far.welcome["mesh"] == "far"
        assert [m["member"] for m in (await far.ask("member.list"))["members"]] == ["owner"]
        listed = (await owner.ask("mesh.list"))["meshes"]
        assert [(one["mesh"], one["members"]) for one in listed] == [("default", 1), ("far", 1)]


async def test_nothing_crosses(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        owner = await r.join("owner", role="service")
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", mesh="far", token=made["token"], role="service")
        await far.refused("unknown_recipient", "mail.send", to="alice", body=1)
        sent = await alice.ask("mail.send", to="owner", body=1)
        assert far.mail() == []
        (mail,) = owner.mail()
        await far.refused("not_found", "mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        await far.refused("not_found", "mail.trace", message=sent["message"])
        await far.refused("not_found", "member.remove", member="alice")
        assert (await far.ask("mail.send", to="*", body=1))["total"] == 0


@pytest.mark.parametrize("mesh", ["Default", "a b", "", "x" * 65, "a/b", "-a"])
async def test_a_name_that_is_none_is_named(tmp_path: Path, mesh: str) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        error = await owner.refused("bad_request", "mesh.create", mesh=mesh)
        assert "mesh" in error["message"]


async def test_only_owners_of_the_first_mesh(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await owner.refused("key_conflict", "mesh.create", mesh="default")
        made = await owner.ask("mesh.create", mesh="far")
        await owner.refused("key_conflict", "mesh.create", mesh="far")
        far = await r.join("owner", mesh="far", token=made["token"])
        r.tokens["ann"] = (await owner.ask("member.add", member="ann", access="admin"))["token"]
        for peer in (far, await r.join("ann"), await r.join("mo")):
            await peer.refused("forbidden", "mesh.create", mesh="third")
            await peer.refused("forbidden", "mesh.list")


async def test_the_list_comes_in_pages(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        for name in ("c", "a", "b"):
            await owner.ask("mesh.create", mesh=name)
        first = await owner.ask("mesh.list", limit=3)
        assert [one["mesh"] for one in first["meshes"]] == ["a", "b", "c"]
        rest = await owner.ask("mesh.list", limit=3, after=first["next"])
        assert [one["mesh"] for one in rest["meshes"]] == ["default"]
        assert rest["next"] is None
        await owner.refused("bad_request", "mesh.list", after="a")
