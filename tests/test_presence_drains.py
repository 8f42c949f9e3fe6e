"""Who drains which mailbox: roles in their order, and only those who are online and take pushes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from broken_disk import BrokenDisk
from rig import Peer, Rig, rig

from broker.areas.presence.drains import PRECEDENCE
from broker.core.house import Member


async def takes(r: Rig, *peers: Peer, to: str = "alice") -> list[int]:
    """Who of these was handed a mail that is sent now (and then cancelled)."""
    owner = await r.join("owner", observe=True)
    sent = await owner.ask("mail.send", to=to, body=1)
    got = [number for number, peer in enumerate(peers) if peer.mail()]
    if not got:
        await owner.ask("mail.cancel", message=sent["message"])
    return got


async def test_the_first_role_that_is_there_drains_the_member(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        session = await r.join("alice", session="s1")
        assert await takes(r, session) == [0]
        service = await r.join("alice", role="service")
        assert await takes(r, session, service) == [1]
        daemon = await r.join("alice", role="control-plane")
        assert await takes(r, session, service, daemon) == [2]
        await daemon.ask("bye")
        assert len(service.mail()) == 1  # what the daemon held goes to who is next
        assert await takes(r, session, service) == [1]
        await service.lose()
        assert await takes(r, session) == [0]


async def test_a_session_alone_drains_its_mailbox(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        daemon = await r.join("alice", role="control-plane")
        one = await r.join("alice", session="s1")
        two = await r.join("alice", session="s2")
        assert await takes(r, daemon, one, two, to="alice/s1") == [1]
        await one.lose()
        assert await takes(r, daemon, one, two, to="alice/s1") == []


async def test_capacity_nought_is_no_drainer(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        service = await r.join("alice", role="service")
        daemon = await r.join("alice", role="control-plane", capacity=0)
        assert await takes(r, service, daemon) == [0]
        await daemon.ask("presence.update", capacity=1)
        assert await takes(r, service, daemon) == [1]
        await daemon.ask("presence.update", capacity=0)
        assert await takes(r, service, daemon) == [0]


async def test_what_waits_is_handed_to_the_next_role_when_the_first_goes(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        session = await r.join("alice", session="s1")
        daemon = await r.join("alice", role="control-plane", status="dnd")
        owner = await r.join("owner", role="service")
        await owner.ask("mail.send", to="alice", body=1)
        assert session.mail() == daemon.mail() == []
        await daemon.lose()
        assert len(session.mail()) == 1


async def test_mail_that_waited_is_pushed_at_hello(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await r.join("alice", session="s1", capacity=0)
        for body in range(3):
            await owner.ask("mail.send", to=["alice", "alice/s1"], body=body)
        session = await r.join("alice", session="s1")
        assert [m["mailbox"] for m in session.mail()] == ["alice/s1"] * 3 + ["alice"] * 3


def links_of(member: Member) -> dict[str, object]:
    """The links, worked out from nothing but who is there."""
    takers = [
        one
        for one in member.presences.values()
        if one.conversation is not None and one.capacity and not one.observe
    ]
    first = next((r for r in PRECEDENCE if any(one.role == r for one in takers)), None)
    drainers = {member.box.address: {one.id for one in takers if one.role == first}}
    for box in member.sessions.values():
        drainers[box.address] = {one.id for one in takers if one.box is box}
    drains = {
        one.id: {a for a, ids in drainers.items() if one.id in ids}
        for one in member.presences.values()
    }
    return {"drainers": drainers, "drains": drains}


def linked(member: Member) -> dict[str, object]:
    """The links as they stand."""
    boxes = (member.box, *member.sessions.values())
    return {
        "drainers": {box.address: {one.id for one in box.drainers} for box in boxes},
        "drains": {
            one.id: {box.address for box in one.drains} for one in member.presences.values()
        },
    }


@pytest.mark.parametrize("seed", range(6))
async def test_the_links_follow_from_who_is_there(tmp_path: Path, seed: int) -> None:
    """Whatever comes and goes, each step changes the links to what they would be from scratch."""
    chance = random.Random(seed)  # noqa: S311 - an order of steps, no secret
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        await r.join("alice", observe=True)
        member = r.broker.house.meshes["default"].members["alice"]
        peers: list[Peer] = []
        for _ in range(60):
            steps = ["join", "join", "bye", "lose", "capacity", "resume"]
            step = chance.choice(steps) if peers else "join"
            if chance.random() < 0.3:
                await fail(r, disk, step, peers, chance)
            else:
                await change(r, step, peers, chance)
                await r.settle()
            peers = [peer for peer in peers if peer.conversation.presence is not None]
            assert linked(member) == links_of(member)


async def fail(
    r: Rig, disk: BrokenDisk, step: str, peers: list[Peer], chance: random.Random
) -> None:
    """Something is tried and taken back: nothing has changed."""
    if step == "lose":
        return
    member = r.broker.house.meshes["default"].members["alice"]
    before = linked(member)
    disk.full = True
    await change(r, step, list(peers), chance)
    await r.settle()
    assert linked(member) == before == links_of(member)
    assert r.broker.executor.fault is not None or step == "capacity"
    disk.full = False
    await r.advance(1_000)


async def change(r: Rig, step: str, peers: list[Peer], chance: random.Random) -> None:
    """One of the things that may happen to a presence is asked for."""
    hello: dict[str, Any] = {"member": "alice", "token": r.tokens["alice"]}
    if step == "join":
        hello["role"] = chance.choice(["session", "service", "control-plane"])
        hello["session"] = chance.choice([None, "s1", "s2"])
        hello["capacity"] = chance.choice([0, 1, 5])
        peers.append(r.connect())
        peers[-1].post("hello", **hello)
        return
    peer = chance.choice(peers)
    presence = peer.conversation.presence
    assert presence is not None
    if step == "bye":
        peer.post("bye", final=chance.random() < 0.5)
    elif step == "lose":
        peer.conversation.lost()
    elif step == "capacity":
        peer.post("presence.update", capacity=chance.choice([0, 1, 5]))
    else:
        welcome = next(f["ok"] for f in peer.line.frames if "resume" in f.get("ok", {}))
        hello |= {"role": welcome["role"], "resume": welcome["resume"]}
        peers.append(r.connect())
        peers[-1].post("hello", **hello)
