"""A list of requests gives the same answers, rows and effects however it is split into batches.

The same frames are played twice: request by request, each in a transaction of its own, and then a
whole chunk of them in one batch. Then once more, with the storage failing at every statement of
every batch before that batch is let through: whatever failed has left no trace. And once with sends
that go the straight way on one side and the general one on the other.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from batch_script import CAST, MEMBERS, PLAIN, READS, Author, Chunk, CountingChance, Replayer
from failing_storage import FailingStorage, constraint, full
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_dump import agree, remembered, stored
from rig import Rig, rig

from broker.areas.mail import send as send_module
from broker.config import Settings
from broker.core import ring as ring_module
from broker.core.turn import Turn
from broker.store.sqlite import Connector, connect
from broker.wire.mail import Sent

SETTINGS: Final = {
    "store.synchronous": "normal",  # nobody pulls a plug here
    "mail.lease_ms": 3_000,
    "mail.backoff_ms": 1_000,
    "mail.max_attempts": 3,
    "mail.max_claims": 4,
    "mail.max_depth": 6,
    "mail.dedupe_ms": 8_000,
    "mail.retention_ms": 20_000,
    "presence.lease_ms": 4_000,
    "dispatch.lease_ms": 3_000,
    "delegation.stuck_ms": 3_000,
}
OPENING: Final[Chunk] = [(number, [("hello", 1, 1, 1)]) for number in (0, 1, 3, 5, 6, 7)]

MAIL: Final = (
    *("mail.send", "mail.send", "mail.send", "mail.ack", "mail.ack", "mail.nack", "mail.claim"),
    *("mail.extend", "mail.cancel", "mail.redrive", "mail.drop", "presence.update"),
)
PEOPLE: Final = (
    *("hello", "bye", "peer.watch", "peer.list", "group.join", "group.leave", "group.list"),
    *("member.add", "member.remove", "member.update", "member.list"),
    *("token.create", "token.revoke"),
)
WORK: Final = (
    *("dispatch.create", "dispatch.lease", "dispatch.consume"),
    *("delegation.open", "delegation.update"),
)
WRITES: Final = (*MAIL, *MAIL, *PEOPLE, *WORK)
ALL: Final = (*WRITES, "bad", "bad", *READS)

Said = list[tuple[list[dict[str, Any]], tuple[int, str] | None]]
Between = tuple[int | None, int]
Script = list[tuple[Chunk, Between]]
House = tuple[Path, dict[str, str]]


def scripts(operations: tuple[str, ...], chunks: int, moves: int) -> st.SearchStrategy[Script]:
    """Chunks of requests from several connections, and what happens behind each."""
    number = st.integers(0, 12)
    move = st.tuples(st.sampled_from(operations), number, number, number)
    part = st.tuples(st.integers(0, len(CAST) - 1), st.lists(move, min_size=2, max_size=moves))
    chunk = st.lists(part, min_size=2, max_size=6, unique_by=lambda part: part[0])
    lost = st.sampled_from((None, None, None, *range(len(CAST))))
    between = st.tuples(lost, st.sampled_from((0, 0, 500, 1_500, 4_000)))
    return st.lists(st.tuples(chunk, between), min_size=2, max_size=chunks)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A data directory with members, and their tokens."""
    directory = tmp_path_factory.mktemp("house")

    async def found() -> dict[str, str]:
        async with rig(directory) as r:
            for member in MEMBERS:
                await r.join(member, observe=True)
            return dict(r.tokens)

    return directory, asyncio.run(found())


@asynccontextmanager
async def copied(house: House, connector: Connector = connect) -> AsyncIterator[Rig]:
    """A rig on a copy of the house."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "data"
        shutil.copytree(house[0], directory)
        r = Rig(directory, Settings.of(SETTINGS), connector)
        r.chance = CountingChance()
        await r.start()
        try:
            yield r
        finally:
            await r.crash()


def plain(frame: dict[str, Any]) -> dict[str, Any]:
    """A frame without what is no change: when somebody was last heard of, and how busy it is."""
    if "peer" in frame:
        return {**frame, "peer": {**frame["peer"], "last_seen_at": 0, "in_flight": 0}}
    peers = frame.get("ok", {}).get("peers")
    if peers is None:
        return frame
    shown = [{**peer, "last_seen_at": 0, "in_flight": 0} for peer in peers]
    return {**frame, "ok": {**frame["ok"], "peers": shown}}


def lane(frames: list[dict[str, Any]], *, mail: bool) -> list[dict[str, Any]]:
    """The deliveries among these, or all the others."""
    return [plain(frame) for frame in frames if (frame.get("ev") == "mail.deliver") is mail]


def compare_frames(one_by_one: Said, batched: Said) -> None:
    """Each connection was told the same; deliveries have a lane of their own."""
    for (expected, ended), (found, closed) in zip(one_by_one, batched, strict=True):
        assert closed == ended
        handed, others = lane(expected, mail=True), lane(expected, mail=False)
        handed_too, others_too = lane(found, mail=True), lane(found, mail=False)
        assert others_too[: len(others)] == others
        # What was claimed for a connection in the batch of its end is back, and not handed over.
        assert handed[: len(handed_too)] == handed_too
        if not ended:
            assert (len(handed_too), len(others_too)) == (len(handed), len(others))
        # What a connection asked behind its own end is not read, or refused.
        assert all("error" in frame for frame in others_too[len(others) :])


def compare(expected: Rig, found: Rig) -> None:
    """Both brokers have the same in memory and on disk, and the two agree."""
    rows, others = stored(expected), stored(found)
    for table, content in rows.items():
        assert others[table] == content, table
    assert remembered(found.broker.house) == remembered(expected.broker.house)
    agree(expected)


async def played_twice(
    house: House,
    script: Script,
    share: int,
    connector: Connector,
    prepare: Callable[[Rig], None] = lambda _: None,
) -> None:
    async with copied(house) as r, copied(house, connector) as other:
        prepare(other)
        author, replayer = Author(r, house[1]), Replayer(other, house[1])
        for chunk, between in [(OPENING, (None, 0)), *script]:
            told = await author.play(chunk, share)
            if isinstance(connector, FailingStorage):
                await failed_everywhere(replayer, told, connector)
            else:
                await replayer.attempt(told)
            assert not other.broker.executor.waiting, "all of it was one batch"
            await replayer.let_go()
            compare_frames(author.said(), replayer.said())
            compare(r, other)
            await author.between(*between)
            await replayer.between(*between)
            compare_frames(author.said(), replayer.said())
            compare(r, other)


async def failed_everywhere(
    replayer: Replayer, told: list[tuple[int, bytes]], storage: FailingStorage
) -> None:
    """Try a batch with a later statement failing each time, until it goes through."""
    r = replayer.rig
    chance = r.chance
    assert isinstance(chance, CountingChance)
    rows, memory, number = stored(r), remembered(r.broker.house), chance.number
    for after in itertools.count():
        storage.fail(full, after=after, gone=after % 2 == 1)
        await replayer.attempt(told)
        if not storage.failed:
            storage.heal()
            return
        denied(replayer, told)
        assert not r.broker.ready()[0]
        replayer.forget()
        assert stored(r) == rows
        assert remembered(r.broker.house) == memory
        chance.number = number


def denied(replayer: Replayer, told: list[tuple[int, bytes]]) -> None:
    """Everybody in the batch was told, in order, that the storage failed, and nothing else."""
    answered = 0
    for number, (frames, closed) in enumerate(replayer.said()):
        ended = replayer.peers[number].conversation.closing
        asked = [msgspec.json.decode(data)["id"] for who, data in told if who == number]
        codes = [(frame["re"], frame["error"]["code"]) for frame in frames]
        assert codes == [(id, "unavailable") for id in asked[: len(codes)]]
        assert closed is None or (ended and not codes)
        answered += len(codes)
    assert answered


def quiet(caplog: pytest.LogCaptureFixture) -> bool:
    """Nothing was logged as a fault of ours."""
    return not [record for record in caplog.records if "one by one" in record.message]


some = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("share", [1, 2, 16])
@some
@given(script=scripts(ALL, 5, 8))
def test_a_batch_is_what_its_requests_are_one_by_one(
    house: House,
    share: int,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ring_module, "SHARE", share)
    asyncio.run(played_twice(house, script, share, connect))
    assert quiet(caplog), "a batch had to be run one by one"


@some
@given(script=scripts((*MAIL, *[PLAIN] * 12, "hello", "bye"), 5, 8))
def test_a_send_goes_the_straight_way_as_it_would_go_the_general_one(
    house: House, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = send_module.straight

    def the_other_way_round(other: Rig) -> None:
        def general(turn: Turn, *call: Any) -> Sent | None:
            return None if turn.house is other.broker.house else straight(turn, *call)

        monkeypatch.setattr(send_module, "straight", general)

    asyncio.run(played_twice(house, script, ring_module.SHARE, connect, the_other_way_round))


@settings(some, max_examples=20)
@given(script=scripts(WRITES, 2, 4))
def test_a_batch_that_fails_anywhere_has_not_been(house: House, script: Script) -> None:
    asyncio.run(played_twice(house, script, ring_module.SHARE, FailingStorage()))


FIXED: Final[Chunk] = [
    (0, [("mail.send", 0, 0, 0), ("mail.send", 6, 1, 2), ("mail.send", 9, 0, 4)]),
    (3, [("mail.ack", 0, 0, 1), ("mail.send", 5, 0, 0), ("mail.nack", 1, 0, 0)]),
    (1, [("group.join", 1, 0, 0), ("mail.claim", 0, 1, 0), ("mail.cancel", 0, 0, 0)]),
    (6, [("mail.claim", 1, 0, 0), ("delegation.open", 1, 0, 0), ("mail.send", 11, 0, 0)]),
]


async def broken_everywhere(house: House) -> int:
    """Let each statement of a batch break a constraint once; at how many that was."""
    async with copied(house) as r:
        author = Author(r, house[1])
        opened = await author.play(OPENING, ring_module.SHARE)
        author.said()
        told = await author.play(FIXED, ring_module.SHARE)
        expected = author.said()
        for after in itertools.count():
            storage = FailingStorage()
            async with copied(house, storage) as other:
                replayer = Replayer(other, house[1])
                await replayer.attempt(opened)
                await replayer.let_go()
                replayer.said()
                storage.fail(constraint, after=after, times=1)
                await replayer.attempt(told)
                while other.broker.executor.waiting:
                    await replayer.one_batch()
                if not storage.failed:
                    return after
                await replayer.let_go()
                compare_frames(expected, replayer.said())
                compare(r, other)
                assert other.broker.ready()[0]
    return 0


def test_a_batch_that_breaks_a_constraint_is_run_one_by_one(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    tried = asyncio.run(broken_everywhere(house))
    assert tried > 20
    assert not quiet(caplog)


async def test_a_delivery_is_claimed_in_the_batch_in_which_it_came(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first ack makes room for the oldest that waits, the second for what just came."""
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        workers = [await r.join("bob", role="service", capacity=1) for _ in range(2)]
        for body in range(3):
            await alice.ask("mail.send", to="bob", body=body)
        for worker in workers:
            (mail,) = worker.mail()
            worker.post("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
            if worker is workers[0]:
                alice.post("mail.send", to="bob", body=3)
        await r.settle()
        assert [mail["body"] for worker in workers for mail in worker.mail()] == [2, 3]
        agree(r)
        assert quiet(caplog)


@pytest.mark.parametrize("waits", [False, True])
async def test_an_ack_of_what_nobody_was_told_of_yet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    """Ids can be guessed. Whoever does so gets what is its own, and breaks nothing."""
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service", capacity=1)
        await alice.ask("mail.send", to="alice", body=0)
        if waits:
            await alice.ask("mail.send", to="alice", body=1)
        (mail,) = alice.mail()
        number = r.broker.house.next_number
        alice.post("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        if not waits:
            alice.post("mail.send", to="alice", body=1)
        delivery = f"d{number - 1 if waits else number + 1}"
        guess = alice.post("mail.ack", delivery=delivery, claim=f"c{number + 1}")
        await r.settle()
        assert alice.reply(guess)["ok"]["state"] == "acked"
        assert r.rows("SELECT count(*) FROM deliveries WHERE state = 'acked'") == [(2,)]
        agree(r)
        assert quiet(caplog)


async def test_a_claim_waits_in_the_batch_in_which_an_earlier_one_was_answered(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        first = bob.post("mail.claim", wait_ms=5_000)
        await r.settle()
        alice.post("mail.send", to="bob", body=1)
        second = bob.post("mail.claim", wait_ms=5_000)
        await r.settle()
        assert [mail["body"] for mail in bob.reply(first)["ok"]["deliveries"]] == [1]
        bob.write(msgspec.json.encode({"op": "group.list", "id": second}))
        await r.settle()
        assert bob.reply(second)["error"]["code"] == "bad_request", "it is in flight"


async def test_a_claim_waits_on_when_what_answered_it_is_taken_back(tmp_path: Path) -> None:
    """The hello that would take its place is refused at the last moment."""
    async with rig(tmp_path) as r:
        first = await r.join("alice", session="s1", capacity=0)
        waiting = first.post("mail.claim", wait_ms=5_000)
        await r.settle()
        hello = {"member": "alice", "token": r.tokens["alice"], "session": "s1"}
        groups = [f"@{'/'.join([f'{number:064}'] * 8)}" for number in range(100)]
        await r.connect().refused("too_large", "hello", **hello, groups=groups)
        first.write(msgspec.json.encode({"op": "group.list", "id": waiting}))
        await r.settle()
        assert first.reply(waiting)["error"]["code"] == "bad_request", "it is in flight"
        first.line.frames.clear()
        await first.ask("mail.send", to="alice", body=1)
        assert len(first.reply(waiting)["ok"]["deliveries"]) == 1


async def test_what_was_said_before_hello_spends_no_resume_value(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        first = await r.join("alice", session="s1")
        hello = {"member": "alice", "token": r.tokens["alice"], "session": "s1"}
        hello["resume"] = first.welcome["resume"]
        await first.lose()
        for behind, resumed in ((False, True), (True, True), (False, False)):
            peer = r.connect()
            peer.post("group.list")
            id = peer.post("hello", **hello)
            if behind:
                peer.post("group.list")
            await r.settle()
            assert peer.reply(id)["ok"]["resumed"] is resumed
            await peer.lose()


async def test_numbers_that_were_taken_back_are_not_reserved(tmp_path: Path) -> None:
    """After a restart the first number of all is taken by an ack that is refused in the end."""
    async with rig(tmp_path) as r:
        alice = await r.join("alice", role="service")
        await alice.ask("mail.send", to="alice", body=0)
        (mail,) = alice.mail()
        await r.restart()
        hello = {"member": "alice", "token": r.tokens["alice"], "role": "service"}
        again = r.connect()
        await again.ask("hello", **hello, resume=alice.welcome["resume"])
        outputs = [{"to": "alice", "body": 1}, {"to": "nobody", "body": 2}]
        held = {"delivery": mail["delivery"], "claim": mail["claim"]}
        await again.refused("unknown_recipient", "mail.ack", **held, outputs=outputs)
        agree(r)
        sent = await again.ask("mail.send", to="alice", body=3)
        agree(r)
        await r.restart()
        again = r.connect()
        await again.ask("hello", **hello)
        assert (await again.ask("mail.send", to="alice", body=4))["seq"] > sent["seq"] + 2
