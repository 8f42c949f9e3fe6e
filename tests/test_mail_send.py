"""The straight way of a send: taken by what is ordinary, and never noticed by anybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from mail_desk import desk, held
from memory_dump import remembered, stored
from rig import Peer, Rig

from broker.areas.mail import send as send_module
from broker.core.house import Presence
from broker.core.turn import Turn
from broker.wire.mail import Send, Sent

SENDS: Final[dict[str, dict[str, Any]]] = {
    "ordinary": {},
    "said as it is anyway": {"priority": "task", "kind": "message", "delay_ms": 0},
    "a number": {"priority": 50},
    "a body that is null": {"body": None},
    "as large as may be": {"body": "x" * 1_022},
    "too large": {"body": "x" * 1_023},
    "critical": {"priority": "critical"},
    "info": {"priority": "info"},
    "a kind": {"kind": "job"},
    "the broker's kind": {"kind": "system.down"},
    "a ttl": {"ttl_ms": 5_000},
    "a delay": {"delay_ms": 1_000},
    "meta": {"meta": {"a": 1}},
    "no meta": {"meta": None},
    "a receipt": {"receipt": True},
    "attempts": {"max_attempts": 2},
    "a key": {"key": "k"},
    "the key again": {"key": "k"},
    "an answer": {"reply_to": "m999999"},
    "a list": {"to": ["bob"]},
    "a group": {"to": "@team"},
    "everybody": {"to": "*"},
    "a session": {"to": "bob/s1"},
    "no session": {"to": "bob/s9"},
    "nobody": {"to": "carol"},
    "the broker": {"to": "postroom"},
    "no name": {"to": "No Name"},
    "nothing": {"to": ""},
    "oneself": {"to": "ann"},
}
ORDINARY: Final = {"ordinary", "said as it is anyway", "a number", "as large as may be"} | {
    "a body that is null"
}

Cast = Callable[[Rig], Awaitable[list[Peer]]]
Told = tuple[Any, ...]


async def a_service(r: Rig) -> list[Peer]:
    return [await r.join("bob", role="service", groups=["@team"])]


async def a_session(r: Rig) -> list[Peer]:
    return [await r.join("bob", session="s1", groups=["@team"])]


async def of_two_roles(r: Rig) -> list[Peer]:
    first = await r.join("bob", role="control-plane")
    return [first, await r.join("bob", session="s1"), await r.join("bob", role="service")]


async def two_that_compete(r: Rig) -> list[Peer]:
    return [await r.join("bob", role="service", capacity=2 + number) for number in range(2)]


async def no_capacity(r: Rig) -> list[Peer]:
    return [await r.join("bob", role="service", capacity=0)]


async def hands_full(r: Rig) -> list[Peer]:
    bob = await r.join("bob", role="service", capacity=1)
    ann = await r.join("ann", observe=True)
    await ann.ask("mail.send", to="bob", body="held")
    bob.mail()
    return [bob]


async def a_queue(r: Rig) -> list[Peer]:
    """What waits is not taken, and room is left: of nothing that comes may it be overtaken."""
    bob = await r.join("bob", role="service", status="working")
    ann = await r.join("ann", observe=True)
    await ann.ask("mail.send", to="bob", body="waits", priority="info")
    return [bob]


async def a_queue_elsewhere(r: Rig) -> list[Peer]:
    """The session drains its own mailbox and the member's; in the member's something waits."""
    bob = await r.join("bob", session="s1", status="working")
    ann = await r.join("ann", observe=True)
    await ann.ask("mail.send", to="bob", body="waits", priority="info")
    return [bob]


async def not_to_be_disturbed(r: Rig) -> list[Peer]:
    return [await r.join("bob", role="service", status="dnd")]


async def away(r: Rig) -> list[Peer]:
    bob = await r.join("bob", role="service")
    await bob.lose()
    return []


async def nobody_there(r: Rig) -> list[Peer]:
    await (await r.join("bob", role="service")).ask("bye")
    return []


async def a_stuffed_line(r: Rig) -> list[Peer]:
    bob = await r.join("bob", role="service")
    bob.conversation.full = True
    return [bob]


async def a_full_mailbox(r: Rig) -> list[Peer]:
    bob = await r.join("bob", role="service")
    ann = await r.join("ann", observe=True)
    for number in range(6):
        await ann.ask("mail.send", to="bob", body=number)
    bob.mail()
    return [bob]


SETTINGS: Final[dict[str, Any]] = {
    "limits__body": 1_024,
    "limits__frame": 131_072,
    "mail__max_depth": 6,
}


async def played(
    directory: Path, cast: Cast, way: Callable[..., Sent | None], patch: pytest.MonkeyPatch
) -> tuple[list[Told], set[str]]:
    """What everybody was told of each send, what was stored and remembered; who went straight."""
    told: list[Told] = []
    went: set[str] = set()
    name = ""

    def straight(turn: Turn, caller: Presence, request: Send) -> Sent | None:
        sent = way(turn, caller, request)
        if sent is not None:
            went.add(name)
        return sent

    async with desk(directory, **SETTINGS) as r:
        peers = await cast(r)
        ann = await r.join("ann", session="s1")
        patch.setattr(send_module, "straight", straight)
        for name, fields in SENDS.items():
            before = len(ann.line.frames)
            await ann.answer("mail.send", **{"to": "bob", "body": name, **fields})
            said = [peer.mail() for peer in (ann, *peers)]
            told.append((name, ann.line.frames[before:], said))
            told.append((stored(r), remembered(r.broker.house), r.broker.executor.due()))
            for peer, mails in zip((ann, *peers), said, strict=True):
                for mail in mails:
                    await peer.ask("mail.ack", **held(mail))
    return told, went


@pytest.mark.parametrize(
    ("cast", "straight"),
    [
        (a_service, {*ORDINARY, "oneself"}),
        (a_session, {*ORDINARY, "a session", "oneself"}),
        (of_two_roles, {*ORDINARY, "a session", "oneself"}),
        (two_that_compete, {"oneself"}),
        (no_capacity, {"oneself"}),
        (hands_full, {"oneself"}),
        (a_queue, {"oneself"}),
        (a_queue_elsewhere, {"oneself"}),
        (not_to_be_disturbed, {"oneself"}),
        (away, {"oneself"}),
        (nobody_there, {"oneself"}),
        (a_stuffed_line, {"oneself"}),
        (a_full_mailbox, {"oneself"}),
    ],
)
async def test_the_straight_way_leads_where_the_general_one_does(
    tmp_path_factory: pytest.TempPathFactory,
    cast: Cast,
    straight: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    way = send_module.straight
    directory = tmp_path_factory.mktemp("straight")
    found, went = await played(directory, cast, way, monkeypatch)
    assert went == straight
    directory = tmp_path_factory.mktemp("general")
    expected, _ = await played(directory, cast, lambda *_: None, monkeypatch)
    for one, other in zip(found, expected, strict=True):
        assert one == other


async def test_the_lease_of_what_went_straight_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, mail__lease_ms=7_000) as r:  # when nothing else is due
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        monkeypatch.delattr(send_module, "accept")  # it is the straight way, or an error
        await ann.ask("mail.send", to="bob", body=1)
        (first,) = bob.mail()
        await r.advance(first["lease_ms"] - 1)
        assert (await bob.ask("mail.list"))["deliveries"][0]["state"] == "claimed"
        await r.advance(1)
        assert (await bob.ask("mail.list"))["deliveries"][0]["state"] == "queued"
