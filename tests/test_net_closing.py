"""The end of a connection: who closes, with which code, what still leaves, and what is left."""

from __future__ import annotations

import logging

import pytest
from net_desk import Desk
from net_peer import UPGRADE, App, Raw, Recorder, connected, masked, request, serving, upgraded
from test_net_outbox import texts, unpack
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

CLOSE = masked(b"\x03\xe8", Opcode.CLOSE)


async def test_a_huge_message_does_not_cost_the_peer_its_close_frame() -> None:
    async with serving(App()) as server, upgraded(server) as raw:
        raw.send(masked(b"x" * 8_000_000))
        assert await raw.close_code() == 1009
        raw.writer.close()


async def test_the_peer_closes() -> None:
    app = App()
    async with serving(app) as server:
        async with connect(server.url) as peer:
            await peer.close(4000, "enough")
            assert (peer.close_code, peer.close_reason) == (4000, "enough")
        await app.talks[0].until(lambda: app.talks[0].losses == 1)
        assert await server.closed(10)
        assert (server.counters.opened, server.counters.closed, server.connections) == (1, 1, 0)


async def test_what_is_queued_leaves_before_our_close() -> None:
    app = App()
    async with serving(app) as server, connect(server.url) as peer:
        line = app.talks[0].line
        line.deliver(b"last")
        line.send(b"first")
        line.close(4403, "revoked")
        line.close(1000, "again")
        assert [await peer.recv(), await peer.recv()] == ["first", "last"]
        with pytest.raises(ConnectionClosed) as closed:
            await peer.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4403, "revoked")
        await app.talks[0].until(lambda: app.talks[0].losses == 1)


async def test_a_long_reason_is_cut_between_characters() -> None:
    app = App()
    async with serving(app) as server, upgraded(server) as raw:
        app.talks[0].line.close(4400, "ü" * 100)
        _, payload = await raw.frame()
        assert payload[2:].decode() == "ü" * 61


async def test_nothing_is_heard_after_our_close() -> None:
    app = App()
    app.prepare = lambda talk: setattr(
        talk, "on_message", lambda talk, data: talk.line.close(4400, "no")
    )
    async with serving(app) as server, upgraded(server) as raw:
        raw.send(masked(b"1") + masked(b"2"))
        assert await raw.close_code() == 4400
        raw.send(masked(b"3") + masked(b"?", Opcode.PING))
        assert await raw.frame() == (Opcode.PONG, b"?")
        raw.send(CLOSE)
        assert await raw.end() == b""
        assert app.talks[0].messages == [b"1"]
        assert app.talks[0].losses == 1


async def test_a_peer_that_does_not_answer_our_close_is_dropped() -> None:
    app = App()
    async with serving(app, close_ms=50) as server, upgraded(server) as raw:
        app.talks[0].line.close(1001, "going away")
        assert await raw.close_code() == 1001
        assert await raw.end() == b""
        await app.talks[0].until(lambda: app.talks[0].losses == 1)


async def test_a_peer_that_vanishes() -> None:
    app = App()
    async with serving(app) as server:
        async with upgraded(server):
            pass
        await app.talks[0].until(lambda: app.talks[0].losses == 1)
        assert await server.closed(10)


async def test_abort_drops_at_once() -> None:
    app = App()
    app.prepare = lambda talk: setattr(talk, "on_message", lambda talk, data: talk.line.abort())
    async with serving(app) as server, upgraded(server) as raw:
        raw.send(masked(b"1") + masked(b"2"))
        assert await raw.end() == b""
        await app.talks[0].until(lambda: app.talks[0].losses == 1)
        assert app.talks[0].messages == [b"1"]


async def test_a_paused_peer_still_gets_our_close_and_may_answer_it() -> None:
    app = App()
    async with serving(app) as server, connect(server.url) as peer:
        app.talks[0].line.pause()
        await peer.send("unheard")
        app.talks[0].line.close(4403, "revoked")
        with pytest.raises(ConnectionClosed):
            await peer.recv()
        assert peer.close_code == 4403
        assert app.talks[0].messages == []


async def test_a_mistake_in_the_conversation_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(talk: Recorder, data: bytes) -> None:
        raise ZeroDivisionError

    app = App()
    app.prepare = lambda talk: setattr(talk, "on_message", fail)
    async with serving(app) as server, upgraded(server) as raw:
        raw.send(masked(b"1") + masked(b"2"))
        assert await raw.close_code() == 1011
        assert len(app.talks[0].messages) == 1
        assert "ZeroDivisionError" in caplog.text


async def test_a_conversation_that_cannot_begin_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(talk: Recorder) -> None:
        raise ZeroDivisionError

    async with serving(App(prepare=fail)) as server, connected(server) as raw:
        raw.send(request("/v1", UPGRADE))
        await raw.end()
        assert "ZeroDivisionError" in caplog.text
        assert await server.closed(10)
        assert server.counters.opened == server.counters.closed == 1


def test_what_cannot_leave_before_a_close_is_given_up() -> None:
    desk = Desk.made(flush_ms=10_000)
    desk.stick()
    desk.line.send(b"stuck")
    desk.line.close(1001, "going away")
    desk.clock.wait(9.9)
    assert desk.pipe.ended == []
    desk.clock.wait(0.2)
    assert desk.pipe.ended == ["abort"]


def test_a_close_waits_for_a_slow_peer_to_take_what_is_queued() -> None:
    desk = Desk.made()
    desk.stick()
    desk.line.send(b"first")
    desk.line.close(1001, "going away")
    desk.clock.wait(3)
    assert desk.pipe.writes == []
    desk.loosen()
    said, close = desk.pipe.writes
    assert texts(said) == [b"first"]
    assert unpack(close)[0].opcode is Opcode.CLOSE
    desk.clock.wait(4.9)
    assert desk.pipe.ended == []
    desk.clock.wait(0.2)
    assert desk.pipe.ended == ["abort"]


def test_a_close_from_the_peer_takes_along_what_this_turn_said() -> None:
    desk = Desk.made()
    desk.line.send(b"reply")
    desk.line.data_received(CLOSE)
    frames = unpack(b"".join(desk.pipe.writes))
    assert [frame.opcode for frame in frames] == [Opcode.TEXT, Opcode.CLOSE]
    assert desk.pipe.ended == ["close"]
    assert desk.talk.losses == 1
    desk.line.data_received(masked(b"more"))
    desk.line.connection_lost(None)
    assert desk.talk.losses == 1
    assert desk.clock.timers == []


def test_a_peer_that_keeps_sending_after_a_failure_is_dropped() -> None:
    desk = Desk.made()
    desk.line.data_received(b"\x81\x02hi")
    assert desk.pipe.ended == ["eof"]
    desk.line.data_received(b"x" * 100)
    desk.clock.wait(5.1)
    assert desk.pipe.ended == ["eof", "abort"]


async def test_hostile_bytes_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    caplog.set_level(logging.WARNING)

    async def attack(raw: Raw, garbage: bytes) -> None:
        raw.send(garbage)
        raw.writer.write_eof()
        await raw.end()

    async with serving(app) as server:
        for seed in range(40):
            garbage = bytes((seed * 7 + index * index * 13) % 256 for index in range(200))
            async with upgraded(server) as raw:
                await attack(raw, garbage)
            async with connected(server) as raw:
                await attack(raw, garbage)
        assert await server.closed(10)
        assert server.counters.opened == server.counters.closed == 40
        assert all(talk.losses == 1 for talk in app.talks)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
