"""A restart: all are away with a fresh lease; who resumes was never gone, the others leave once."""

from __future__ import annotations

from pathlib import Path

from presence_watch import told, watching
from rig import START, rig


async def test_all_are_away_as_they_were(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        client = {"name": "robot", "version": None}
        await r.join("alice", session="s1", groups=["@team"], summary="x", client=client)
        gone = await r.join("bob", role="service", session="w", host="box1", status="dnd")
        await gone.lose()
        await r.join("bob", role="control-plane", capacity=0)
        roles = ["session", "service", "control-plane"]
        owner = await r.join("owner", observe=True)
        before = (await owner.ask("peer.list", roles=roles))["peers"]
        await r.restart()
        owner = await r.join("owner", observe=True)
        after = (await owner.ask("peer.list", roles=roles))["peers"]
        assert [peer["transport"] for peer in after] == ["away"] * 3
        for peer in before:
            peer["transport"] = "away"
        assert after == before


async def test_the_lease_is_fresh_and_who_does_not_come_leaves_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", session="s1")
        bob = await r.join("bob", role="service")
        await bob.lose()
        await r.advance(60_000)
        await r.restart()
        watcher = await watching(r)
        await r.advance(89_999)
        back = await r.join("alice", session="s1", resume=alice.welcome["resume"])
        assert back.welcome["resumed"] is True
        assert told(watcher) == [("peer.changed", alice.welcome["presence"])]
        await r.advance(1)
        assert told(watcher) == [("peer.left", bob.welcome["presence"])]
        await r.advance(200_000)
        assert told(watcher) == []


async def test_what_was_held_is_pushed_again_after_the_restart(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        alice = await r.join("alice", role="service")
        await owner.ask("mail.send", to="alice", body=1)
        (mail,) = alice.mail()
        await r.restart()
        back = await r.join("alice", role="service", resume=alice.welcome["resume"])
        (same,) = back.mail()
        assert (same["claim"], same["attempt"], same["claims"]) == (mail["claim"], 1, 1)


async def test_a_label_is_still_taken_after_the_restart(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice", session="s1")
        await r.restart()
        watcher = await watching(r)
        second = await r.join("alice", session="s1")
        assert second.welcome["resumed"] is False
        assert [e["ev"] for e in watcher.events()] == ["peer.changed"]
        assert r.rows("SELECT count(*) FROM presences WHERE session = 's1'") == [(1,)]


async def test_the_end_of_a_token_is_kept_over_the_restart(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        made = await owner.ask("token.create", ttl_ms=30_000)
        await r.join("owner", token=made["token"], role="service")
        await r.restart()
        await r.advance(30_000)
        assert r.clock.now() == START + 30_000
        assert [p.role for p in r.broker.house.presences.values() if not p.observe] == []


async def test_the_clock_is_not_before_who_was_last_heard(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann")
        await r.advance(200_000)
        ann.conversation.alive()
        heard = r.clock.now()
        await ann.lose()
        await r.crash()
        r.clock.time = heard - 172_800_000
        await r.start()
        assert r.clock.now() >= heard
