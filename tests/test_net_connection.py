"""A connection from its upgrade to its end: what each side says, what comes back, what is left."""

from __future__ import annotations

import asyncio
import logging

import pytest
from net_desk import Desk
from net_peer import UPGRADE, App, Raw, Recorder, connected, masked, request, serving, upgraded
from test_net_outbox import texts, unpack
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Opcode

CLOSE = masked(b"\x03\xe8", Opcode.CLOSE)


def echo(talk: Recorder) -> None:
    talk.on_message = lambda talk, data: talk.line.send(data)


async def test_messages_come_and_go_in_order() -> None:
    app = App(prepare=echo)
    async with serving(app) as server, connect(server.url) as peer:
        for text in ("one", "two", "zwölf", "x" * 60_000):
            await peer.send(text)
            assert await peer.recv() == text
        assert server.counters.messages_in == server.counters.messages_out == 4
        assert server.counters.bytes_in > 60_000
        assert server.counters.bytes_out > 60_000
        assert app.talks[0].binary == [False] * 4


async def test_fragments_are_one_message() -> None:
    app = App(prepare=echo)
    async with serving(app) as server, connect(server.url) as peer:
        await peer.send(["a", "b", "c"])
        assert await peer.recv() == "abc"


async def test_a_binary_message_is_marked() -> None:
    app = App()
    async with serving(app) as server, connect(server.url) as peer:
        await peer.send(b"bytes")
        await app.talks[0].until(lambda: app.talks[0].binary == [True])


async def test_pings_are_answered_and_any_bytes_are_life() -> None:
    app = App()
    async with serving(app) as server, connect(server.url, ping_interval=None) as peer:
        await (await peer.ping())
        assert app.talks[0].lives == 1
        await peer.pong()
        await (await peer.ping())
        assert app.talks[0].lives >= 2


async def test_our_ping_reaches_the_peer() -> None:
    app = App()
    async with serving(app) as server, upgraded(server) as raw:
        app.talks[0].line.ping()
        assert await raw.frame() == (Opcode.PING, b"")


async def test_a_message_byte_by_byte() -> None:
    app = App(prepare=echo)
    async with serving(app) as server, upgraded(server) as raw:
        for byte in masked(b"slowly"):
            raw.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert await raw.frame() == (Opcode.TEXT, b"slowly")


async def test_messages_sent_before_the_upgrade_was_answered() -> None:
    app = App(prepare=echo)
    async with serving(app) as server, connected(server) as raw:
        raw.send(request("/v1", UPGRADE) + masked(b"early") + masked(b"bird")[:3])
        assert (await raw.response())[0] == 101
        assert await raw.frame() == (Opcode.TEXT, b"early")


@pytest.mark.parametrize("parts", [["x" * 70_000], ["x" * 40_000, "x" * 40_000]])
async def test_a_message_that_is_too_big_closes_with_1009(parts: list[str]) -> None:
    app = App()
    async with serving(app) as server, connect(server.url, compression=None) as peer:
        await peer.send(parts)
        with pytest.raises(ConnectionClosedError) as closed:
            await peer.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert app.talks[0].messages == []


async def test_a_huge_message_does_not_cost_the_peer_its_close_frame() -> None:
    async with serving(App()) as server, upgraded(server) as raw:
        raw.send(masked(b"x" * 8_000_000))
        assert await raw.close_code() == 1009
        raw.writer.close()


async def test_a_broken_frame_closes_with_1002() -> None:
    app = App()
    async with serving(app) as server, upgraded(server) as raw:
        raw.send(b"\x81\x02hi")
        assert await raw.close_code() == 1002
        assert await raw.reader.read() == b""
        assert app.talks[0].losses == 1


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


async def test_pause_and_resume() -> None:
    app = App(prepare=echo)
    async with serving(app) as server, upgraded(server) as raw:
        talk = app.talks[0]
        talk.on_message = lambda talk, data: talk.line.pause()
        raw.send(masked(b"1") + masked(b"2") + masked(b"3"))
        await talk.until(lambda: len(talk.messages) == 1)
        talk.line.pause()
        raw.send(masked(b"4"))
        talk.line.resume()
        await talk.until(lambda: len(talk.messages) == 2)
        talk.on_message = lambda talk, data: None
        talk.line.resume()
        talk.line.resume()
        await talk.until(lambda: len(talk.messages) == 4)
        assert talk.messages == [b"1", b"2", b"3", b"4"]


async def test_pausing_after_the_end_does_nothing() -> None:
    app = App()
    async with serving(app) as server:
        async with upgraded(server):
            app.talks[0].line.pause()
            app.talks[0].line.abort()
            app.talks[0].line.pause()
            app.talks[0].line.resume()
            await app.talks[0].until(lambda: app.talks[0].losses == 1)
        app.talks[0].line.pause()
        app.talks[0].line.resume()
        app.talks[0].line.close(1000, "")
        app.talks[0].line.abort()


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


async def test_a_request_that_is_never_finished_is_dropped() -> None:
    app = App()
    async with serving(app, hello_ms=50) as server:
        async with connected(server) as raw:
            raw.send(request("/v1", UPGRADE)[:-2])
            assert await raw.end() == b""
        async with connected(server) as silent:
            assert await silent.end() == b""
        assert app.talks == []


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


def test_the_conversation_is_called_when_it_asked_to_be() -> None:
    desk = Desk.made(upgrade=False)
    start = desk.clock.now
    desk.app.prepare = lambda talk: setattr(talk, "next_tick", start + 20)
    desk.line.data_received(request("/v1", UPGRADE))
    desk.clock.wait(19)
    assert desk.talk.ticks == [start]
    desk.talk.next_tick = start + 50
    desk.clock.wait(30)
    assert desk.talk.ticks == [start, start + 20]
    assert len(desk.clock.timers) == 1
    desk.clock.wait(2)
    assert desk.talk.ticks[:3] == [start, start + 20, start + 50]


def test_a_conversation_may_end_at_its_tick(caplog: pytest.LogCaptureFixture) -> None:
    for end in ("close", "abort", "raise"):
        desk = Desk.made(upgrade=False)
        desk.app.prepare = lambda talk: setattr(talk, "next_tick", 1_020.0)
        desk.line.data_received(request("/v1", UPGRADE))
        line = desk.line

        def finish(talk: Recorder, end: str = end, line: object = line) -> None:
            if end == "close":
                talk.line.close(4408, "no hello in time")
            elif end == "abort":
                talk.line.abort()
            else:
                raise ZeroDivisionError

        desk.talk.on_tick = finish
        desk.clock.wait(20.5)
        assert len(desk.talk.ticks) == 2
        code = unpack(desk.pipe.writes[-1])[0].data[:2] if end != "abort" else b""
        assert code == {"close": b"\x11\x38", "abort": b"", "raise": b"\x03\xf3"}[end]
    assert "ZeroDivisionError" in caplog.text


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


def test_a_flood_of_pings_lets_others_have_their_turn() -> None:
    desk = Desk.made()
    desk.line.data_received(masked(b"", Opcode.PING) * 1_000 + masked(b"last"))
    assert desk.talk.messages == []
    assert not desk.pipe.reading
    desk.clock.turn()
    assert desk.talk.messages == [b"last"]
    assert desk.pipe.reading
    assert len(unpack(b"".join(desk.pipe.writes))) == 1_000


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
