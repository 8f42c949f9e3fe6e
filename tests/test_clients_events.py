"""The stream of events: several readers, each with a place and a bounded buffer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from clients_stub import Frame, Stub, join, stub

from broker.wire.frames import ErrorEvent
from broker.wire.mail import Progress
from broker.wire.presence import PeerJoined, PeerLeft, PeerSynced
from clients import errors


@pytest.fixture
async def broker() -> AsyncIterator[Stub]:
    async with stub() as running:
        yield running


def peer(event: str, name: str = "bob") -> Frame:
    shown: Frame = {
        "presence": "p2",
        "member": name,
        "session": None,
        "address": name,
        "role": "service",
        "status": "idle",
        "summary": None,
        "groups": [],
        "transport": "online",
        "host": None,
        "client": None,
        "capacity": 1,
        "in_flight": 0,
        "connected_at": 1,
        "last_seen_at": 1,
        "self": False,
    }
    return {"ev": event, "peer": shown}


async def test_every_reader_hears_everything_or_what_it_wants(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        every, left = me.events(), me.events(PeerLeft)
        progress = {"ev": "mail.progress", "message": "m1", "delivery": "d1", "mailbox": "bob"}
        await line.say(
            peer("peer.joined"),
            {"ev": "peer.synced"},
            {**progress, "note": "x"},
            peer("peer.left"),
        )
        heard = [await anext(every) for _ in range(4)]
        assert [type(event) for event in heard] == [PeerJoined, PeerSynced, Progress, PeerLeft]
        event = await anext(left)
        assert isinstance(event, PeerLeft)
        assert event.peer.member == "bob"


async def test_a_reader_begins_when_it_is_made(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        first = me.events()
        await line.say(peer("peer.joined", "a"))
        await anext(first)
        second = me.events()
        await line.say(peer("peer.joined", "b"))
        assert (await anext(second)).peer.member == "b"
        first.close()
        await line.say(peer("peer.joined", "c"))
        assert (await anext(second)).peer.member == "c"
        assert len(first._waiting) == 1


async def test_a_reader_that_is_dropped_costs_nothing(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        for _ in range(10):
            me.events()
        kept = me.events()
        await line.say(peer("peer.joined"))
        await anext(kept)
        assert len(me._parts.events._readers) == 1


async def test_a_reader_that_is_too_slow_is_told_and_goes_on(broker: Stub) -> None:
    async with join(broker) as me:
        line = await broker.line()
        slow, fast = me.events(buffered=3), me.events()
        await line.say(*[peer("peer.joined", str(number)) for number in range(5)])
        for number in range(5):
            assert (await anext(fast)).peer.member == str(number)
        with pytest.raises(errors.EventsLost, match="more than 3"):
            await anext(slow)
        await line.say(peer("peer.joined", "later"))
        assert (await anext(slow)).peer.member == "later"


async def test_an_error_that_answers_nothing_is_an_event(
    broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    async with join(broker) as me:
        line = await broker.line()
        events = me.events(ErrorEvent)
        error = {"code": "bad_frame", "message": "a frame is an object", "retryable": False}
        await line.say({"ev": "error", "error": error, "op": "mail.send"})
        event = await anext(events)
        assert isinstance(event, ErrorEvent)
        assert (event.error.code, event.op) == ("bad_frame", "mail.send")
    assert "a frame is an object" in caplog.text


async def test_the_stream_ends_with_the_client(broker: Stub) -> None:
    async with join(broker) as me:
        events = me.events()
        reading = asyncio.ensure_future(anext(events, None))
    assert await reading is None
    assert [event async for event in events] == []
