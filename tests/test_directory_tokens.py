"""Tokens: how they narrow, how they end, and who ends with them."""

from __future__ import annotations

from pathlib import Path

from rig import START, rig

from broker.areas.directory.tokens import issue
from broker.core.turn import Turn


async def test_a_member_narrows_its_own(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        made = await alice.ask("token.create", roles=["service", "session"], ttl_ms=10_000)
        assert made["expires_at"] == START + 10_000
        narrow = await r.join("alice", token=made["token"], role="service")
        await narrow.refused("forbidden", "token.create", roles=["control-plane"])
        await r.advance(4_000)
        child = await narrow.ask("token.create", roles=["service"], ttl_ms=60_000)
        assert child["expires_at"] == START + 10_000
        same = await narrow.ask("token.create")
        assert same["expires_at"] == START + 10_000
        listed = {t["token_id"]: t for t in (await alice.ask("token.list"))["tokens"]}
        first = r.tokens["alice"].split("_")[1]
        assert listed[first] == {
            "token_id": first,
            "member": "alice",
            "roles": ["control-plane", "session", "service"],
            "created_at": START,
            "expires_at": None,
            "last_used_at": START,
            "parent": None,
        }
        assert listed[made["token_id"]]["parent"] == first
        assert listed[made["token_id"]]["roles"] == ["service", "session"]
        assert listed[child["token_id"]]["parent"] == made["token_id"]
        assert listed[child["token_id"]]["last_used_at"] is None
        assert sorted(listed[same["token_id"]]["roles"]) == ["service", "session"]
        assert len(listed) == 4


async def test_what_comes_from_a_token_ends_with_it(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await r.join("alice", role="service")
        made = [await first.ask("token.create")]
        peers = [await r.join("alice", role="service", token=made[0]["token"])]
        for _ in range(2):
            made.append(await peers[-1].ask("token.create"))
            peers.append(await r.join("alice", role="service", token=made[-1]["token"]))
        other = await first.ask("token.create")
        beside = await r.join("alice", role="service", token=other["token"])
        await first.ask("token.revoke", token_id=made[1]["token_id"])
        ended = (4403, "token revoked")
        assert [peer.line.closed for peer in peers] == [None, ended, ended]
        await first.ask("token.revoke", token_id=made[0]["token_id"])
        assert peers[0].line.closed == ended
        assert beside.line.closed is None
        await beside.ask("token.revoke", token_id=r.tokens["alice"].split("_")[1])
        assert [first.line.closed, beside.line.closed] == [ended, ended]
        assert r.rows("SELECT count(*) FROM tokens") == [(1,)]


async def test_a_long_chain_ends_at_once(tmp_path: Path) -> None:
    """Longer than Python's stack is deep."""
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        chain = [r.tokens["alice"]]

        def lengthen(turn: Turn) -> None:
            member = r.broker.house.meshes["default"].members["alice"]
            for _ in range(1_100):
                chain.append(issue(turn, member, parent=chain[-1].split("_")[1])[1])

        r.broker.executor.submit(lengthen)
        await r.settle()
        last = await r.join("alice", role="service", token=chain[-1])
        await alice.ask("token.revoke", token_id=r.tokens["alice"].split("_")[1])
        assert last.line.closed == (4403, "token revoked")
        assert alice.line.closed == (4403, "token revoked")
        assert r.rows("SELECT count(*) FROM tokens") == [(1,)]


async def test_its_time_ends_it_with_its_connections(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = await owner.ask("token.create", ttl_ms=5_000)
        online = await r.join("owner", token=made["token"])
        eye = await r.join("owner", token=made["token"], observe=True)
        child = await online.ask("token.create", ttl_ms=60_000)
        grown = await r.join("owner", token=child["token"])
        await r.advance(4_999)
        assert online.line.closed is None
        await r.advance(1)
        for peer in (online, eye, grown):
            assert peer.line.closed == (4401, "token ended")
        assert owner.line.closed is None
        assert (await owner.ask("token.list"))["tokens"][0]["expires_at"] is None
        await online.lose()
        await r.advance(100_000)
        assert r.rows("SELECT count(*) FROM presences") == [(1,)]


async def test_a_revocation_ends_those_who_are_away_too(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = await owner.ask("token.create", member="owner")
        away = await r.join("owner", token=made["token"], session="s1")
        await away.lose()
        await owner.ask("token.revoke", token_id=made["token_id"])
        assert len((await owner.ask("peer.list"))["peers"]) == 1


async def test_one_that_an_admin_makes_depends_on_no_other(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice")
        owner = await r.join("owner", role="service")
        short = await owner.ask("token.create", ttl_ms=1_000, roles=["service"])
        brief = await r.join("owner", token=short["token"], role="service")
        made = await brief.ask("token.create", member="alice", roles=["control-plane"])
        assert made["expires_at"] is None
        await r.advance(1_000)
        assert brief.line.closed is not None
        await r.join("alice", token=made["token"], role="control-plane")


async def test_admins_touch_no_tokens_of_owners(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        r.tokens["ann"] = (await owner.ask("member.add", member="ann", access="admin"))["token"]
        ann = await r.join("ann")
        await ann.refused("forbidden", "token.create", member="owner")
        id = r.tokens["owner"].split("_")[1]
        await ann.refused("forbidden", "token.revoke", token_id=id)
        await r.join("alice")
        alice = r.tokens["alice"].split("_")[1]
        await ann.ask("token.revoke", token_id=alice)
        await owner.ask("token.revoke", token_id=r.tokens["ann"].split("_")[1])
        assert ann.line.closed is not None


async def test_a_member_sees_and_ends_only_its_own(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        listed = (await alice.ask("token.list"))["tokens"]
        assert [one["member"] for one in listed] == ["alice"]
        id = r.tokens["owner"].split("_")[1]
        await alice.refused("not_found", "token.revoke", token_id=id)
        await alice.refused("not_found", "token.revoke", token_id="nobody")
        owner = await r.join("owner", observe=True)
        assert len((await owner.ask("token.list"))["tokens"]) == 2


async def test_tokens_of_another_mesh_do_not_exist(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        far = await owner.ask("mesh.create", mesh="far")
        await owner.refused("not_found", "token.revoke", token_id=far["token_id"])
        listed = (await owner.ask("token.list"))["tokens"]
        assert far["token_id"] not in {one["token_id"] for one in listed}


async def test_the_list_comes_in_pages(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = {(await owner.ask("token.create"))["token_id"] for _ in range(5)}
        first = await owner.ask("token.list", limit=4)
        rest = await owner.ask("token.list", limit=4, after=first["next"])
        found = [one["token_id"] for one in (*first["tokens"], *rest["tokens"])]
        assert set(found) == made | {r.tokens["owner"].split("_")[1]}
        assert found == sorted(found)
        assert rest["next"] is None
        await owner.refused("bad_request", "token.list", after="nonsense")


async def test_when_it_was_last_used(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        await r.advance(9_000)
        again = await r.join("owner", observe=True)
        (token,) = (await owner.ask("token.list"))["tokens"]
        assert token["last_used_at"] == START + 9_000
        await r.advance(1_000)
        await again.lose()
        await r.join("owner", observe=True, resume=again.welcome["resume"])
        (token,) = (await owner.ask("token.list"))["tokens"]
        assert token["last_used_at"] == START + 10_000


async def test_empty_roles_are_a_bad_request(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        await owner.refused("bad_request", "token.create", roles=[])
        await owner.refused("bad_request", "token.create", roles=["boss"])
        await owner.refused("bad_request", "token.create", ttl_ms=0)
        await owner.refused("not_found", "token.create", member="nobody")


async def test_a_token_may_end_before_the_one_it_came_from(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = await owner.ask("token.create", ttl_ms=60_000)
        parent = await r.join("owner", token=made["token"])
        child = await parent.ask("token.create", ttl_ms=5_000)
        assert child["expires_at"] == START + 5_000
