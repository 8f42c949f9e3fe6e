"""Members: who may make, change and remove whom, and what a removal takes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from presence_watch import told, watching
from rig import START, Peer, Rig, rig


async def steering(r: Rig) -> dict[str, Peer]:
    """An owner, an admin and a member."""
    owner = await r.join("owner", role="service")
    r.tokens["ann"] = (await owner.ask("member.add", member="ann", access="admin"))["token"]
    ann = await r.join("ann", role="service")
    return {"owner": owner, "admin": ann, "member": await r.join("mo", role="service")}


async def test_a_new_member_comes_with_its_token(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        added = await owner.ask(
            "member.add", member="bob", access="admin", agent_types=["b", "a", "a"], note="new"
        )
        assert added["member"] == "bob"
        assert added["token"].startswith(f"prm_{added['token_id']}_")
        r.tokens["bob"] = added["token"]
        bob = await r.join("bob")
        listed = await bob.ask("member.list")
        assert listed["members"][0] == {
            "member": "bob",
            "access": "admin",
            "agent_types": ["a", "b"],
            "note": "new",
            "created_at": START,
            "present": True,
        }
        assert [one["member"] for one in listed["members"]] == ["bob", "owner"]
        assert (await owner.ask("mail.send", to="bob", body=1))["total"] == 1


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ("owner", "key_conflict"),
        ("postroom", "bad_request"),
        ("Bob", "bad_request"),
        ("-bob", "bad_request"),
        ("b ob", "bad_request"),
        ("bob/s1", "bad_request"),
        ("b" * 65, "bad_request"),
        ("", "bad_request"),
        ("bob\n", "bad_request"),
    ],
)
async def test_names_that_cannot_be_taken(tmp_path: Path, member: str, code: str) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        error = await owner.refused(code, "member.add", member=member)
        assert "member" in error["message"]
        assert r.rows("SELECT count(*) FROM members") == [(1,)]


@pytest.mark.parametrize("name", ["a", "0", "b" * 64, "a.b-c_d"])
async def test_names_that_can(tmp_path: Path, name: str) -> None:
    async with rig(tmp_path) as r:
        assert (await r.join(name)).welcome["member"] == name


async def test_members_steer_nobody(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        member = (await steering(r))["member"]
        requests: list[tuple[str, dict[str, Any]]] = [
            ("member.add", {"member": "x"}),
            ("member.update", {"member": "mo", "access": "owner"}),
            ("member.update", {"member": "nobody"}),
            ("member.remove", {"member": "mo"}),
            ("member.list", {}),
            ("token.create", {"member": "ann"}),
            ("token.create", {"member": "nobody"}),
            ("broker.stats", {}),
        ]
        for op, fields in requests:
            await member.refused("forbidden", op, **fields)


async def test_admins_make_and_unmake_no_owners(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        parties = await steering(r)
        admin = parties["admin"]
        await admin.refused("forbidden", "member.add", member="x", access="owner")
        await admin.refused("forbidden", "member.update", member="mo", access="owner")
        await admin.refused("forbidden", "member.update", member="ann", access="owner")
        await admin.refused("forbidden", "member.update", member="owner", access="member")
        await admin.refused("forbidden", "member.remove", member="owner")
        await admin.ask("member.update", member="mo", access="admin")
        await admin.ask("member.update", member="mo", access="member")
        await admin.ask("member.remove", member="mo")


async def test_the_last_owner_stays(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        parties = await steering(r)
        owner = parties["owner"]
        await owner.refused("forbidden", "member.remove", member="owner")
        await owner.refused("forbidden", "member.update", member="owner", access="admin")
        await owner.ask("member.update", member="owner", note="still")
        await owner.ask("member.update", member="ann", access="owner")
        await owner.ask("member.update", member="owner", access="member")
        await owner.refused("forbidden", "member.list")
        ann = parties["admin"]
        await ann.refused("forbidden", "member.remove", member="ann")
        await ann.ask("member.remove", member="owner")


async def test_an_update_changes_what_it_gives(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        await owner.ask("member.add", member="bob", agent_types=["a"], note="x")
        await owner.ask("member.update", member="bob", agent_types=["b"])
        await r.restart()
        owner = await r.join("owner")
        (bob,) = (await owner.ask("member.list", limit=1))["members"]
        assert (bob["access"], bob["agent_types"], bob["note"]) == ("member", ["b"], "x")
        await owner.ask("member.update", member="bob", note=None, access="admin")
        (bob,) = (await owner.ask("member.list", limit=1))["members"]
        assert (bob["access"], bob["agent_types"], bob["note"]) == ("admin", ["b"], None)
        await owner.refused("not_found", "member.update", member="nobody")
        await owner.refused("not_found", "member.remove", member="Not A Name")


async def test_too_many_agent_types(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        types = [f"{n:0>128}" for n in range(200)]
        await owner.refused("too_large", "member.add", member="bob", agent_types=types)
        await owner.ask("member.add", member="bob", agent_types=types[:100])
        await owner.refused("too_large", "member.update", member="bob", agent_types=types)


async def test_a_removal_closes_ends_and_tells(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        watcher = await watching(r)
        alice = await r.join("alice", session="s1", groups=["@team"])
        other = await r.join("alice", role="service", groups=["@team"])
        away = await r.join("alice", session="s2")
        await away.lose()
        eye = await r.join("alice", observe=True)
        owner = await r.join("owner", observe=True)
        sent = await owner.ask("mail.send", to=["alice", "alice/s1", "alice/s2"], body=1)
        watcher.events()
        await owner.ask("member.remove", member="alice")
        for peer in (alice, other, eye):
            assert peer.line.closed == (4403, "member removed")
        assert sorted(told(watcher)) == sorted(
            ("peer.left", peer.welcome["presence"]) for peer in (alice, other, away)
        )
        trace = await owner.ask("mail.trace", message=sent["message"])
        assert {one["state"] for one in trace["deliveries"]} == {"expired"}
        assert {one["history"][-1]["reason"] for one in trace["deliveries"]} == {"member_removed"}
        await owner.refused("unknown_recipient", "mail.send", to="alice", body=1)
        assert (await owner.ask("mail.send", to="@team", body=1))["total"] == 0
        for table in ("presences", "memberships"):
            assert r.rows(f"SELECT count(*) FROM {table} WHERE mailbox_id > 1") == [(0,)]
        assert r.rows("SELECT count(*) FROM tokens WHERE member_id > 1") == [(0,)]
        assert set(r.broker.house.tokens) == {r.tokens["owner"].split("_")[1]}


async def test_a_removed_name_added_again_is_another_member(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1", capacity=0)
        old = r.tokens["alice"]
        owner = await r.join("owner", role="service")
        await owner.ask("mail.send", to=["alice", "alice/s1"], body="old")
        await owner.ask("member.remove", member="alice")
        r.tokens["alice"] = (await owner.ask("member.add", member="alice"))["token"]
        for _ in range(2):
            again = await r.join("alice", session="s1", resume=alice.welcome["resume"])
            assert again.welcome["resumed"] is False
            assert again.mail() == []
            assert (await again.ask("mail.list"))["deliveries"] == []
            error = await r.connect().answer("hello", member="alice", token=old)
            assert error["error"]["code"] == "unauthorized"
            await again.ask("bye")
            await r.restart()


async def test_a_member_that_removes_itself_is_answered(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        parties = await steering(r)
        admin = parties["admin"]
        assert await admin.ask("member.remove", member="ann") == {}
        assert admin.line.closed == (4403, "member removed")


async def test_removed_in_a_batch_nothing_more_is_sent_to_it(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice", role="service")
        owner = await r.join("owner", role="service")
        owner.post("member.remove", member="alice")
        late = owner.post("mail.send", to="alice", body=1)
        await r.settle()
        assert owner.reply(late)["error"]["code"] == "unknown_recipient"


async def test_the_list_comes_in_pages_that_fit_a_frame(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__body=1_024, limits__frame=70_000) as r:
        owner = await r.join("owner")
        names = [f"m{number:02}" for number in range(30)]
        for name in names:
            note = "\x01" * 4_096 if name < "m10" else None
            await owner.ask("member.add", member=name, note=note)
        found: list[str] = []
        after = None
        while True:
            page = await owner.ask("member.list", after=after, limit=12)
            found += [one["member"] for one in page["members"]]
            after = page["next"]
            if after is None:
                break
        assert found == [*names, "owner"]
        assert max(len(raw) for raw in owner.line.raw) <= 70_000
        for broken in ("m01", "", "token:m01", "member:"):
            await owner.refused("bad_request", "member.list", after=broken)


async def test_present_means_there_and_not_only_observing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        alice = await r.join("alice")
        await alice.lose()

        async def present() -> dict[str, bool]:
            members = (await owner.ask("member.list"))["members"]
            return {one["member"]: one["present"] for one in members}

        assert await present() == {"alice": True, "owner": False}
        await r.advance(90_000)
        assert await present() == {"alice": False, "owner": False}
