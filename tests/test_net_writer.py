"""What leaves a connection, and when: one write per turn, back-pressure, peers that do not read."""

from __future__ import annotations

import asyncio

import pytest
from net_desk import Desk
from net_peer import App, masked, serving, upgraded
from test_net_outbox import texts, unpack
from websockets.frames import Opcode

from broker.net.outbox import PING

OUTBOX = 1_000
SLOW = 10.0


def test_all_of_a_turn_is_one_write_and_replies_go_first() -> None:
    desk = Desk.made()
    desk.line.deliver(b"d1")
    desk.line.send(b"r1")
    desk.line.deliver(b"d2")
    desk.line.send(b"r2")
    assert desk.pipe.writes == []
    assert desk.line.pending() == 8
    desk.clock.turn()
    (written,) = desk.pipe.writes
    assert texts(written) == [b"r1", b"r2", b"d1", b"d2"]
    assert desk.line.pending() == 0
    assert desk.hub.counters.messages_out == 4


def test_a_flush_needs_no_turn_of_the_loop() -> None:
    desk = Desk.made()
    desk.line.send(b"r")
    desk.hub.flush()
    assert texts(desk.pipe.writes.pop()) == [b"r"]
    desk.clock.turn()
    assert desk.pipe.writes == []


def test_a_batch_is_joined() -> None:
    desk = Desk.made()
    desk.line.batch = True
    desk.line.deliver(b"2")
    desk.line.send(b"1")
    desk.clock.turn()
    assert texts(desk.pipe.writes.pop()) == [b"[1,2]"]
    assert desk.hub.counters.messages_out == 1


def test_much_is_given_to_the_transport_in_pieces() -> None:
    desk = Desk.made()
    for _ in range(100):
        desk.line.deliver(b"x" * 10_000)
    desk.clock.turn()
    assert len(desk.pipe.writes) > 1
    assert all(len(written) < 300_000 for written in desk.pipe.writes)
    assert len(texts(b"".join(desk.pipe.writes))) == 100


def test_a_reply_passes_the_deliveries_that_a_slow_peer_makes_wait() -> None:
    desk = Desk.made()
    desk.stick()
    desk.line.deliver(b"d1")
    desk.line.deliver(b"d2")
    desk.clock.turn()
    desk.line.send(b"r")
    desk.clock.turn()
    assert desk.pipe.writes == []
    assert list(desk.line.waiting()) == [b"d1", b"d2"]
    desk.loosen()
    assert texts(desk.pipe.writes.pop()) == [b"r", b"d1", b"d2"]
    assert list(desk.line.waiting()) == []


def test_pending_counts_what_is_queued_and_what_the_transport_holds() -> None:
    desk = Desk.made()
    desk.stick()
    desk.pipe.unsent = 70
    desk.line.send(b"x" * 30)
    assert desk.line.pending() == 100
    desk.read(50)
    assert desk.line.pending() == 50


def test_the_conversation_hears_once_that_a_full_outbox_is_half_empty() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.pipe.unsent = 500
    desk.line.deliver(b"x" * 500)
    assert desk.line.pending() == OUTBOX
    desk.clock.turn()
    assert desk.talk.writables == 0
    desk.loosen()
    assert desk.talk.writables == 1
    desk.line.send(b"x")
    desk.clock.turn()
    assert desk.talk.writables == 1


def test_an_outbox_that_was_never_full_says_nothing() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.line.deliver(b"x" * (OUTBOX - 1))
    desk.line.pending()
    desk.loosen()
    assert desk.talk.writables == 0


def test_an_outbox_above_half_is_not_yet_writable() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.line.deliver(b"x" * OUTBOX)
    desk.line.pending()
    desk.pipe.unsent = 600
    desk.line.resume_writing()
    assert desk.talk.writables == 0
    desk.line.pause_writing()
    desk.loosen()
    assert desk.talk.writables == 1


def test_a_conversation_may_fill_up_again_when_it_hears_of_room() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.line.deliver(b"x" * OUTBOX)
    desk.line.pending()
    desk.talk.writable = lambda: desk.line.deliver(b"more")  # type: ignore[method-assign]  # one test
    desk.loosen()
    desk.pipe.writes.clear()
    desk.clock.turn()
    assert texts(desk.pipe.writes.pop()) == [b"more"]


def test_a_peer_that_does_not_read_is_too_slow_after_ten_seconds() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.line.deliver(b"x" * OUTBOX)
    desk.clock.wait(SLOW - 0.1)
    assert desk.pipe.writes == []
    desk.clock.wait(0.2)
    (close,) = unpack(desk.pipe.writes.pop())
    assert close.opcode is Opcode.CLOSE
    assert int.from_bytes(close.data[:2], "big") == 4429
    assert desk.talk.losses == 1
    assert desk.line.pending() < OUTBOX
    assert desk.pipe.ended == []
    desk.clock.wait(5.1)
    assert desk.pipe.ended == ["abort"]
    desk.line.connection_lost(None)
    assert desk.talk.losses == 1


def test_a_peer_that_reads_a_little_is_not_too_slow() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.pipe.unsent = 10 * OUTBOX // 2
    desk.stick()
    for _ in range(4):
        desk.clock.wait(SLOW - 2)
        desk.read(100)
    desk.clock.wait(SLOW - 2)
    assert desk.talk.losses == 0
    desk.clock.wait(SLOW)
    assert desk.talk.losses == 1


def test_a_peer_whose_outbox_is_not_full_has_all_the_time() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.line.deliver(b"x" * (OUTBOX // 2))
    desk.clock.wait(100)
    assert desk.talk.losses == 0
    desk.line.deliver(b"x" * OUTBOX)
    desk.clock.wait(SLOW / 5)
    assert desk.talk.losses == 1


def test_a_peer_that_reads_less_than_comes_is_cut_off_at_last() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.line.send(b"x" * (8 * OUTBOX))
    desk.clock.wait(1.1)
    assert desk.talk.losses == 1


def test_no_look_is_taken_at_a_peer_that_reads() -> None:
    desk = Desk.made(outbox=OUTBOX)
    desk.stick()
    desk.loosen()
    desk.clock.wait(2)
    assert desk.clock.timers == []


def test_pings_leave_before_everything() -> None:
    desk = Desk.made()
    desk.line.send(b"r")
    desk.line.ping()
    desk.clock.turn()
    assert desk.pipe.writes.pop().startswith(PING)


def test_a_peer_that_pings_and_does_not_read_gets_one_pong() -> None:
    desk = Desk.made()
    desk.stick()
    for number in range(50):
        desk.line.data_received(masked(b"%d" % number, Opcode.PING))
    assert desk.line.pending() < 10
    desk.loosen()
    (pong,) = unpack(desk.pipe.writes.pop())
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"49")


@pytest.mark.parametrize("end", ["close", "abort", "lost"])
def test_what_is_sent_after_the_end_goes_nowhere(end: str) -> None:
    desk = Desk.made()
    if end == "close":
        desk.line.close(1000, "")
    elif end == "abort":
        desk.line.abort()
    else:
        desk.line.connection_lost(None)
    desk.line.send(b"late")
    desk.line.deliver(b"late")
    desk.line.ping()
    desk.clock.turn()
    assert desk.line.pending() == 0
    assert b"late" not in b"".join(desk.pipe.writes)


async def test_a_real_peer_that_stops_to_read_and_goes_on() -> None:
    app = App()
    async with serving(app, outbox=OUTBOX * 1_000) as server, upgraded(server) as raw:
        talk = app.talks[0]
        frames = 0
        raw.stop()
        while talk.line.pending() < OUTBOX * 1_000:
            talk.line.deliver(b"x" * 50_000)
            frames += 1
            server.flush()
        raw.go_on()
        for _ in range(frames):
            await raw.frame()
        await talk.until(lambda: talk.writables == 1)
        assert talk.line.pending() == 0


async def test_a_real_peer_that_stops_to_read_for_too_long() -> None:
    app = App()
    async with serving(app, outbox=OUTBOX * 1_000, slow_ms=50) as server, upgraded(server) as raw:
        talk = app.talks[0]
        raw.stop()
        while talk.line.pending() < OUTBOX * 1_000:
            talk.line.deliver(b"x" * 50_000)
            server.flush()
        await talk.until(lambda: talk.losses == 1)
        raw.go_on()
        opcode, payload = await raw.frame()
        while opcode == Opcode.TEXT:
            opcode, payload = await raw.frame()
        assert int.from_bytes(payload[:2], "big") == 4429


async def test_a_peer_that_vanishes_while_it_is_written_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    async with serving(app, outbox=OUTBOX * 1_000) as server:
        async with upgraded(server) as raw:
            raw.stop()
            for _ in range(100):
                app.talks[0].line.deliver(b"x" * 50_000)
            server.flush()
        talk = app.talks[0]
        while talk.losses == 0:
            talk.line.deliver(b"x" * 50_000)
            server.flush()
            await asyncio.sleep(0)
        assert await server.closed(10)
        assert talk.losses == 1
    assert caplog.records == []


def test_a_transport_that_is_closing_is_not_written_to() -> None:
    desk = Desk.made()
    desk.line.send(b"r")
    desk.pipe.close()
    desk.clock.turn()
    assert desk.pipe.writes == []
