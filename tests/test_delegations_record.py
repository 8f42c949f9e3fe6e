"""Who sees a delegation: its two parties and admins, within its mesh. For others there is none."""

from __future__ import annotations

from pathlib import Path

from delegation_parties import parties


async def test_a_delegation_of_others_is_not_there(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        other = await p.rig.join("other", role="service")
        for op, fields in (
            ("get", {}),
            ("heartbeat", {}),
            ("update", {"status": "completed"}),
            ("update", {"status": "cancelled"}),
        ):
            mine = await other.refused("not_found", f"delegation.{op}", delegation="d1", **fields)
            none = await other.refused("not_found", f"delegation.{op}", delegation="d2", **fields)
            assert mine["message"].replace("d1", "d2") == none["message"]


async def test_an_admin_sees_and_does_not_touch(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        owner = await p.rig.join("owner", observe=True)
        assert (await owner.ask("delegation.get", delegation="d1"))["caller"] == "leader"
        for status in ("completed", "cancelled"):
            await owner.refused("forbidden", "delegation.update", delegation="d1", status=status)
        await owner.refused("forbidden", "delegation.heartbeat", delegation="d1")


async def test_an_id_is_of_its_mesh(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        owner = await p.rig.join("owner", observe=True)
        made = await owner.ask("mesh.create", mesh="elsewhere")
        there = p.rig.connect()
        await there.ask("hello", mesh="elsewhere", member="owner", token=made["token"])
        await there.refused("not_found", "delegation.get", delegation="d1")
        await there.refused(
            "unknown_recipient", "delegation.open", delegation="d1", callee="worker", task=1
        )
        opened = await there.ask("delegation.open", delegation="d1", callee="owner", task="other")
        assert opened["created"] is True
        assert (await there.ask("delegation.get", delegation="d1"))["task"] == "other"
        assert (await p.get())["task"] == {"do": "it"}
        assert p.counts_agree()


async def test_a_removed_member_leaves_the_record_to_the_others(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.open("d2", key="k")
        owner = await p.rig.join("owner", observe=True)
        await owner.ask("member.remove", member="worker")
        assert (await p.get())["callee"] == "worker"
        await owner.ask("member.remove", member="leader")
        shown = await owner.ask("delegation.get", delegation="d1")
        assert (shown["caller"], shown["callee"], shown["status"]) == ("leader", "worker", "queued")


async def test_a_name_that_is_added_again_is_somebody_else(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open("d1", key="k")
        await p.says("in_progress")
        owner = await p.rig.join("owner", observe=True)
        for name in ("leader", "worker"):
            await owner.ask("member.remove", member=name)
            del p.rig.tokens[name]
        leader = await p.rig.join("leader", role="service")
        worker = await p.rig.join("worker", role="service")
        for peer in (leader, worker):
            await peer.refused("not_found", "delegation.get", delegation="d1")
            assert (await peer.ask("delegation.list"))["delegations"] == []
        fields = {"callee": "worker", "task": {"do": "it"}}
        for known in ({"delegation": "d1"}, {"key": "k"}):
            await leader.refused("key_conflict", "delegation.open", **known, **fields)
        # The end of the old one is told to nobody: its caller is gone.
        await p.rig.advance(60_000)
        assert leader.mail() == []
        assert (await owner.ask("delegation.get", delegation="d1"))["status"] == "stuck"
