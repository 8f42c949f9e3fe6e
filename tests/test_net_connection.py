"""A connection that is open: what each side says, what comes back, and when."""

from __future__ import annotations

import asyncio

import pytest
from net_desk import Desk
from net_peer import UPGRADE, App, Recorder, connected, masked, request, serving, upgraded
from test_net_outbox import unpack
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Opcode


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


async def test_a_broken_frame_closes_with_1002() -> None:
    app = App()
    async with serving(app) as server, upgraded(server) as raw:
        raw.send(b"\x81\x02hi")
        assert await raw.close_code() == 1002
        assert await raw.reader.read() == b""
        assert app.talks[0].losses == 1


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


async def test_a_request_that_is_never_finished_is_dropped() -> None:
    app = App()
    async with serving(app, hello_ms=50) as server:
        async with connected(server) as raw:
            raw.send(request("/v1", UPGRADE)[:-2])
            assert await raw.end() == b""
        async with connected(server) as silent:
            assert await silent.end() == b""
        assert app.talks == []


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


def test_a_flood_of_pings_lets_others_have_their_turn() -> None:
    desk = Desk.made()
    desk.line.data_received(masked(b"", Opcode.PING) * 1_000 + masked(b"last"))
    assert desk.talk.messages == []
    assert desk.pipe.flow == ["pause"]
    desk.clock.turn()
    assert desk.talk.messages == [b"last"]
    assert desk.pipe.flow[-1] == "resume"
    assert len(unpack(b"".join(desk.pipe.writes))) == 1_000
