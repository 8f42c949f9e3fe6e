"""Whom a send reaches: members, sessions, groups with their subgroups, topics, everybody, lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mail_desk import bodies, copies, desk, send, take
from rig import Peer, Rig


async def reached(peer: Peer, to: Any) -> list[str]:
    """The mailboxes that a send reaches, in the order of the answer."""
    sent = await peer.ask("mail.send", to=to, body=1)
    assert sent["total"] == len(sent["deliveries"])
    return [copy["to"] for copy in sent["deliveries"]]


async def team(r: Rig) -> dict[str, Peer]:
    """Some members with their groups: a session joins with its own mailbox."""
    return {
        "ann": await r.join("ann", session="s1", groups=["@team/backend", "#news"]),
        "ben": await r.join("ben", role="service", groups=["@team", "#news"]),
        "cat": await r.join("cat", session="s1", groups=["@team/backend/db"]),
        "dan": await r.join("dan", role="service", groups=["@teams", "@other/team"]),
    }


async def test_a_member_and_a_session_have_a_mailbox_each(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", session="s1", capacity=0)
        ann = await r.join("ann", role="service")
        assert await reached(ann, "bob") == ["bob"]
        assert await reached(ann, "bob/s1") == ["bob/s1"]
        listed = [
            (await bob.ask("mail.list", mailbox=box))["deliveries"] for box in ("bob", "bob/s1")
        ]
        assert [[one["mailbox"] for one in page] for page in listed] == [["bob"], ["bob/s1"]]


@pytest.mark.parametrize("to", ["nobody", "bob/s9", "postroom", "postroom/s1", ["bob", "nobody"]])
async def test_who_is_not_there_is_an_unknown_recipient(tmp_path: Path, to: Any) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        await ann.refused("unknown_recipient", "mail.send", to=to, body=1)
        assert bob.mail() == []
        assert r.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_a_session_that_has_left_for_good_is_unknown(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        await bob.ask("bye")
        assert await reached(ann, "bob/s1") == ["bob/s1"]
        bob = await r.join("bob", session="s1")
        await bob.ask("bye", final=True)
        await ann.refused("unknown_recipient", "mail.send", to="bob/s1", body=1)


@pytest.mark.parametrize(
    "to",
    ["", "Bob", "bob/", "/s1", "bob/s1/x", "@", "#", "#a/b", "@" + "/".join("abcdefghi"), "*x"],
)
async def test_what_is_no_target_is_a_bad_request(tmp_path: Path, to: str) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        error = await ann.refused("bad_request", "mail.send", to=to, body=1)
        assert "to" in error["message"]


async def test_a_group_reaches_its_subgroups_and_no_namesake(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        await team(r)
        eve = await r.join("eve", role="service")
        assert sorted(await reached(eve, "@team")) == ["ann/s1", "ben", "cat/s1"]
        assert sorted(await reached(eve, "@team/backend")) == ["ann/s1", "cat/s1"]
        assert await reached(eve, "@team/backend/db") == ["cat/s1"]
        assert sorted(await reached(eve, "#news")) == ["ann/s1", "ben"]


async def test_an_empty_group_is_no_error_and_an_empty_list_is(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service", groups=["@team"])
        for to in ("@nobody", "#nothing", "@team", ["@team", "#nothing"]):
            sent = await ann.ask("mail.send", to=to, body=1)
            assert (sent["total"], sent["deliveries"]) == (0, [])
            assert sent["seq"] % 2 == 1
        await ann.refused("bad_request", "mail.send", to=[], body=1)


async def test_everybody_is_who_is_present_away_included_observers_not(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        peers = await team(r)
        await r.join("cat", session="s2")
        await r.join("dan", role="control-plane")
        watcher = await r.join("fay", observe=True)
        await r.join("gus", role="service", capacity=0)
        await peers["ben"].lose()
        gone = await r.join("hal", role="service")
        await gone.ask("bye")
        assert sorted(await reached(watcher, "*")) == [
            "ann/s1",
            "ben",
            "cat/s1",
            "cat/s2",
            "dan",
            "gus",
        ]


async def test_the_senders_own_mailbox_is_left_out_of_groups_and_of_nothing_else(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        peers = await team(r)
        other = await r.join("ann", session="s2", groups=["#news", "@team"])
        ann, ben = peers["ann"], peers["ben"]
        assert sorted(await reached(ann, "@team")) == ["ann/s2", "ben", "cat/s1"]
        assert sorted(await reached(ann, "*")) == ["ann/s2", "ben", "cat/s1", "dan"]
        assert sorted(await reached(ben, "#news")) == ["ann/s1", "ann/s2"]
        assert await reached(ann, "ann/s1") == ["ann/s1"]
        assert await reached(ben, "ben") == ["ben"]
        assert await reached(ben, ["#news", "ben"]) == ["ann/s1", "ann/s2", "ben"]
        assert len(other.mail()) == 4


async def test_a_member_present_twice_gets_one_copy_of_what_goes_to_everybody(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        await r.join("bob", role="service")
        await r.join("bob", role="control-plane")
        ann = await r.join("ann", role="service")
        assert await reached(ann, "*") == ["bob"]


async def test_an_address_reached_twice_gets_one_copy(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        peers = await team(r)
        eve = await r.join("eve", role="service")
        assert await reached(eve, ["ben", "ben", "#news", "@team", "ann/s1"]) == [
            "ben",
            "ann/s1",
            "cat/s1",
        ]
        mail = [await take(peers[name]) for name in ("ben", "ann", "cat")]
        assert [one["to"] for one in mail] == ["ben", "#news", "@team"]
        assert [one["mailbox"] for one in mail] == ["ben", "ann/s1", "cat/s1"]


async def test_a_list_is_shown_as_it_was_written(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        sent = await ann.ask("mail.send", to=["bob", "*"], body=1)
        assert (await ann.ask("mail.trace", message=sent["message"]))["to"] == ["bob", "*"]


async def test_a_thousand_targets_and_no_more(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        many = ["ann"] * 1000
        assert await reached(ann, many) == ["ann"]
        await ann.refused("too_large", "mail.send", to=[*many, "ann"], body=1)


async def test_who_joins_later_gets_nothing_of_what_was_sent_before(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "@team", 1)
        await bob.ask("group.join", group="@team")
        await send(ann, "@team", 2)
        await bob.ask("group.leave", group="@team")
        await send(ann, "@team", 3)
        assert bodies(bob.mail()) == [2]


async def test_meshes_do_not_see_each_other(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        owner = await r.join("owner", role="service")
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", role="service", mesh="far", token=made["token"])
        await r.join("bob", role="service", groups=["@team"])
        await far.refused("unknown_recipient", "mail.send", to="bob", body=1)
        assert await reached(far, "@team") == []
        assert await reached(far, "*") == []


async def test_the_answer_tells_who_is_there(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("on", role="service", capacity=0)
        away = await r.join("away", session="s1")
        await away.lose()
        gone = await r.join("gone", session="s1")
        await gone.ask("bye")
        await r.join("eye", observe=True)
        sent = await ann.ask(
            "mail.send", to=["on", "away", "away/s1", "gone", "gone/s1", "eye"], body=1
        )
        assert {to: copy["transport"] for to, copy in copies(sent).items()} == {
            "on": "online",
            "away": "away",
            "away/s1": "away",
            "gone": "offline",
            "gone/s1": "offline",
            "eye": "offline",
        }
