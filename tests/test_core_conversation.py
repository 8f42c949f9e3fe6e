"""A conversation: what may be said when, how much at once, and until when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rig import Peer, rig

from broker.core import executor as executor_module
from broker.core.conversation import MOST_ERRORS, MOST_IN_FLIGHT
from broker.store.writer import Writer


def many(peer: Peer, ids: range, op: str = "group.list") -> None:
    """All of these requests in one message."""
    peer.write(msgspec.json.encode([{"op": op, "id": id} for id in ids]))


def codes(frames: list[dict[str, Any]]) -> list[str]:
    """What each answer says: `ok`, or the code of its error."""
    return [frame["error"]["code"] if "error" in frame else "ok" for frame in frames]


def paused(peer: Peer) -> bool:
    """Whether nothing is read from it."""
    return peer.line.paused


def closed(peer: Peer) -> tuple[int, str] | None:
    """How its connection was closed, if it was."""
    return peer.line.closed


# -- what comes in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "binary", "code"),
    [
        (b'{"op":"hello"}', True, 4400),
        (b"", False, 4400),
        (b" \n", False, 4400),
        (b"good day", False, 4400),
        (b'[{"op":"hello"}', False, 4400),
        (b'{"op":"\xff"}', False, 1007),
    ],
)
async def test_what_is_not_the_protocol_ends_the_connection(
    tmp_path: Path, data: bytes, binary: bool, code: int
) -> None:
    async with rig(tmp_path) as r:
        peer = r.connect()
        peer.conversation.received(data, binary=binary)
        await r.settle()
        assert (closed(peer) or (0, ""))[0] == code
        assert peer.line.frames == []


async def test_nothing_is_taken_from_a_closing_connection(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = await r.join("ann")
        peer.conversation.close(1000, "enough")
        peer.conversation.close(4400, "no reason to say more")
        said = len(peer.line.frames)
        peer.post("group.join", group="#late")
        peer.conversation.received(b"\x00", binary=True)
        await r.settle()
        assert closed(peer) == (1000, "enough")
        assert len(peer.line.frames) == said
        assert r.broker.executor.waiting == 0


async def test_hello_comes_first(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("ann")
        peer = r.connect()
        error = await peer.refused("unauthorized", "group.list")
        assert "hello" in error["message"]
        assert closed(peer) is None
        await peer.ask("hello", member="ann", token=r.tokens["ann"])
        assert (await peer.answer("group.list"))["ok"] is not None


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b'{"op":"mail.sned","id":1}', "unauthorized"),
        (b'{"op":"mail.send","id":1}', "unauthorized"),
        (b'{"op":"mail.send","id":[]}', "unauthorized"),
        (b'{"op":"hello","id":1}', "bad_request"),
        (b"[]", "bad_frame"),
    ],
)
async def test_a_stranger_is_told_nothing_of_operations(
    tmp_path: Path, frame: bytes, code: str
) -> None:
    async with rig(tmp_path) as r:
        peer = r.connect()
        peer.write(frame)
        await r.settle()
        (said,) = peer.line.frames
        assert said["error"]["code"] == code
        assert closed(peer) is None


async def test_an_id_in_flight_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = await r.join("ann")
        peer.line.frames.clear()
        many(peer, range(900, 902))
        peer.write(b'{"op":"group.list","id":900}')
        await r.settle()
        assert [frame["re"] for frame in peer.line.frames] == [900, 901, 900]
        assert codes(peer.line.frames) == ["ok", "ok", "bad_request"]
        assert peer.line.frames[2]["error"]["message"].startswith("id:")
        peer.line.frames.clear()
        many(peer, range(900, 902))
        await r.settle()
        assert codes(peer.line.frames) == ["ok", "ok"]


async def test_the_same_id_twice_in_one_message(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = await r.join("ann")
        peer.line.frames.clear()
        peer.write(b'[{"op":"group.list","id":"x"},{"op":"group.list","id":"x"}]')
        await r.settle()
        assert codes(peer.line.frames) == ["ok", "bad_request"]


async def test_a_pull_claim_that_waits_keeps_its_id(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann = await r.join("ann")
        bob = await r.join("bob", capacity=0, role="service")
        waiting = bob.post("mail.claim", wait_ms=5_000)
        await r.settle()
        bob.line.frames.clear()
        bob.write(msgspec.json.encode({"op": "group.list", "id": waiting}))
        await r.settle()
        assert codes(bob.line.frames) == ["bad_request"]
        bob.line.frames.clear()
        await ann.ask("mail.send", to="bob", body="here")
        assert [frame["re"] for frame in bob.line.frames if "re" in frame] == [waiting]
        bob.line.frames.clear()
        bob.write(msgspec.json.encode({"op": "group.list", "id": waiting}))
        await r.settle()
        assert codes(bob.line.frames) == ["ok"]


# -- too much --------------------------------------------------------------------------------------


async def test_reading_stops_at_too_many_in_flight_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        peer = await r.join("ann")
        many(peer, range(10_000, 10_000 + MOST_IN_FLIGHT))
        assert not paused(peer)
        many(peer, range(20_000, 20_001))
        assert paused(peer)
        r.broker.store.writer._hop = None  # the commit stays on this thread
        executor = r.broker.executor
        monkeypatch.setattr(executor_module, "BATCH_REQUESTS", MOST_IN_FLIGHT // 2)
        executor.run()
        assert executor.waiting == MOST_IN_FLIGHT // 2 + 1
        assert paused(peer), "half of the bound is the mark"
        executor.run()
        assert not paused(peer)
        await r.settle()
        assert executor.waiting == 0


async def test_reading_stops_at_too_many_bytes_in_flight(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = await r.join("ann")
        for _ in range(4):
            peer.post("mail.send", to="ann", body="x" * 1_000_000)
        assert not paused(peer)
        last = peer.post("mail.send", to="ann", body="x" * 1_000_000)
        assert paused(peer)
        await r.settle()
        assert not paused(peer)
        assert codes([peer.reply(last)]) == ["too_large"]


async def test_what_comes_when_too_much_waits_is_overloaded(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob")
        r.broker.executor.most_waiting = 3
        ann.line.frames.clear()
        many(ann, range(900, 904))
        late = bob.post("group.join", group="#late")
        bob.write(b'{"op":"nonsense","id":"bad"}')
        await r.settle()
        assert codes(ann.line.frames) == ["ok"] * 4
        error = bob.reply(late)["error"]
        assert (error["code"], error["retryable"]) == ("overloaded", True)
        assert error["retry_after_ms"] > 0
        assert codes([f for f in bob.line.frames if f.get("re") == "bad"]) == ["unknown_op"]
        assert "late" not in str(await bob.ask("group.list"))


async def test_the_hundredth_error_within_a_minute_closes(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = await r.join("ann")
        for _ in range(50):
            peer.write(b'{"op":"nonsense"}')
        await r.settle()
        assert len(peer.events("error")) == 50
        r.clock.time += 60_001
        for number in range(MOST_ERRORS - 1):
            await peer.answer("group.join", group=number)
        assert closed(peer) is None
        peer.write(b'{"op":"nonsense"}')
        await r.settle()
        assert (closed(peer) or (0, ""))[0] == 4429
        assert codes(peer.line.frames[-1:]) == ["unknown_op"]


async def test_a_refusal_that_is_no_mistake_of_form_is_not_counted(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peer = await r.join("ann")
        for _ in range(MOST_ERRORS + 1):
            await peer.refused("not_found", "mail.trace", message="m999999")
        assert closed(peer) is None


async def test_a_full_outbox_stops_claims_until_it_is_writable(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__outbox=1_048_576) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        bob.line.held = r.settings.limits.outbox
        await ann.ask("mail.send", to="bob", body="x" * 40_000)
        assert len(bob.mail()) == 1
        assert bob.conversation.full
        await ann.ask("mail.send", to="bob", body="second")
        assert bob.mail() == []
        assert r.rows("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(1,)]
        bob.line.held = 0
        bob.conversation.writable()
        await r.settle()
        (mail,) = bob.mail()
        assert mail["body"] == "second"


async def test_an_outbox_under_its_bound_stops_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__outbox=1_048_576) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        bob.line.held = r.settings.limits.outbox - 1
        for _ in range(2):
            await ann.ask("mail.send", to="bob", body="x" * 40_000)
        assert len(bob.mail()) == 2


async def test_a_closing_connection_is_not_writable_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        bob.conversation.close(1000, "enough")
        bob.conversation.writable()
        await ann.ask("mail.send", to="bob", body=1)
        assert bob.mail() == []


# -- the end ---------------------------------------------------------------------------------------


async def test_what_was_read_before_the_loss_is_done(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        presence = ann.conversation.presence
        assert presence is not None
        ann.post("mail.send", to="bob", body="last words")
        ann.conversation.lost()
        assert presence.conversation is ann.conversation
        await r.settle()
        assert [mail["body"] for mail in bob.mail()] == ["last words"]
        assert presence.conversation is None


async def test_no_mail_is_claimed_for_a_lost_connection(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        ann, bob = await r.join("ann"), await r.join("bob", role="service")
        ann.post("mail.send", to="bob", body=1)
        bob.conversation.lost()
        await r.settle()
        assert bob.mail() == []
        assert r.rows("SELECT state FROM deliveries") == [("queued",)]


# -- time ------------------------------------------------------------------------------------------


async def test_hello_must_come_in_time(tmp_path: Path) -> None:
    async with rig(tmp_path, presence__hello_ms=3_000) as r:
        peer = r.connect()
        start = r.clock.monotonic()
        assert peer.conversation.tick(start) == start + 3
        assert peer.conversation.tick(start + 2.999) >= start + 3
        assert closed(peer) is None
        peer.conversation.tick(start + 3)
        assert closed(peer) == (4408, "no hello in time")


async def test_a_hello_that_waits_for_the_broker_is_in_time(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("ann")
        peer = r.connect()
        peer.post("hello", member="ann", token=r.tokens["ann"])
        late = r.clock.monotonic() + 60
        assert peer.conversation.tick(late) > late
        await r.settle()
        assert closed(peer) is None
        assert codes(peer.line.frames[:1]) == ["ok"]


async def test_a_ping_for_each_interval(tmp_path: Path) -> None:
    async with rig(tmp_path, presence__ping_ms=10_000, presence__pong_ms=25_000) as r:
        peer = await r.join("ann")
        start = r.clock.monotonic()
        tick = peer.conversation.tick
        assert tick(start) == start + 10
        assert peer.line.pings == 0
        assert tick(start + 10) == start + 20
        assert tick(start + 10) == start + 20
        assert peer.line.pings == 1
        assert tick(start + 20) == start + 25, "the silence ends before the next ping"
        assert peer.line.pings == 2


@pytest.mark.parametrize(("ping_ms", "pong_ms", "rhythm"), [(1_000, 2_200, 1), (3_000, 2_200, 1.1)])
async def test_who_is_quiet_is_asked_before_it_counts_as_silent(
    tmp_path: Path, ping_ms: int, pong_ms: int, rhythm: float
) -> None:
    """Also soon after its hello, for which it had longer than for a sign of life."""
    async with rig(
        tmp_path,
        presence__hello_ms=5_000,
        presence__ping_ms=ping_ms,
        presence__pong_ms=pong_ms,
    ) as r:
        await r.join("ann")
        peer, start = r.connect(), r.clock.monotonic()
        due = peer.conversation.tick(start)
        assert due == pytest.approx(start + rhythm)
        peer.post("hello", member="ann", token=r.tokens["ann"])
        await r.settle()
        for pings in (1, 2, 3):
            r.clock.time += int(rhythm * 1_000)
            due = peer.conversation.tick(max(r.clock.monotonic(), due))
            assert peer.line.pings == pings
            peer.conversation.alive()
        assert closed(peer) is None


async def test_silence_ends_the_connection(tmp_path: Path) -> None:
    async with rig(tmp_path, presence__ping_ms=10_000, presence__pong_ms=25_000) as r:
        peer = await r.join("ann")
        r.clock.time += 24_000
        peer.conversation.alive()
        r.clock.time += 24_999
        assert peer.conversation.silence() == pytest.approx(24.999)
        peer.conversation.tick(r.clock.monotonic())
        assert closed(peer) is None
        r.clock.time += 1
        peer.conversation.tick(r.clock.monotonic())
        assert closed(peer) == (1006, "aborted")
        assert peer.conversation.closing
        pings = peer.line.pings
        peer.conversation.tick(r.clock.monotonic() + 100)
        assert peer.line.pings == pings


async def test_who_is_not_read_is_not_silent(tmp_path: Path) -> None:
    async with rig(tmp_path, presence__ping_ms=10_000, presence__pong_ms=25_000) as r:
        peer = await r.join("ann")
        many(peer, range(10_000, 10_001 + MOST_IN_FLIGHT))
        assert paused(peer)
        r.clock.time += 100_000
        peer.conversation.tick(r.clock.monotonic())
        assert closed(peer) is None
        r.clock.time += 100_000
        await r.settle()
        assert not paused(peer)
        assert peer.conversation.silence() == 0
        peer.conversation.tick(r.clock.monotonic())
        assert closed(peer) is None


async def test_who_is_replaced_during_a_slow_commit_is_told_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        old, new = await r.join("ann", session="s1"), r.connect()
        r.clock.time += 20_000
        old.conversation.alive()
        held: list[Callable[[BaseException | None], None]] = []
        with monkeypatch.context() as patch:
            patch.setattr(Writer, "finish", lambda _, done: held.append(done))
            new.post("hello", member="ann", session="s1", token=r.tokens["ann"])
            r.broker.executor.run()
            old.conversation.tick(r.clock.monotonic())
        assert closed(old) is None
        r.broker.store.writer.commit()
        held.pop()(None)
        assert (closed(old) or (0, ""))[0] == 4409
