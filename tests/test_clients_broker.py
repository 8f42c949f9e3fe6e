"""The client and the real broker: what the two promise together."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import anyio
import net_certificate
import pytest
from clients_process import Process
from clients_stub import PATIENCE

from broker.wire.presence import PeerChanged, PeerJoined, PeerLeft, PeerSynced
from clients import Answered, Queued, Reconnected, Working, errors, keeper
from clients.mail import Mail


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One broker for the tests that break nothing."""
    broker = Process(tmp_path_factory.mktemp("broker") / "data")
    yield broker
    broker.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Process]:
    """A broker that a test may stop; leases are short."""
    broker = Process(tmp_path / "data", "mail.lease_ms=1000")
    yield broker
    broker.stop()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_SECONDS", 0.02)


async def next_mail(me: Any) -> Mail[Any]:
    """The next mail, in time."""
    async with asyncio.timeout(PATIENCE):
        mail: Mail[Any] = await anext(me.mail())
    return mail


async def lose(me: Any) -> None:
    """Cut a client's connection and wait until it is back."""
    events = me.events(Reconnected)
    me._parts.talk.drop()
    async with asyncio.timeout(PATIENCE):
        await anext(events)
    events.close()


# -- the page -----------------------------------------------------------------------------------


async def test_the_first_message_of_the_page(
    shared: Process, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = await shared.members("alice", "bob")
    page = (checkout / "docs" / "client.md").read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    assert program.count("\n") <= 20
    program = program.replace("ws://127.0.0.1:7450/v1", shared.url)
    for name, member in (("alice", alice), ("bob", bob)):
        program = program.replace(f'"{name}"', f'"{member["member"]}"')
    program = program.replace("asyncio.run(main())", "")
    names = {"ALICE": alice["token"], "BOB": bob["token"]}
    exec(compile(program, "docs/client.md", "exec"), names)  # noqa: S102 - our own page
    async with asyncio.timeout(PATIENCE):
        await cast("Any", names["main"])()
    assert capsys.readouterr().out.endswith("{'text': 'hello'}\n")


# -- who is there -------------------------------------------------------------------------------


async def test_members_see_each_other_come_change_and_go(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice, role="service") as me:
        events = me.events(PeerJoined, PeerLeft, PeerChanged, PeerSynced)
        await me.peer.watch(on=True, roles=["session"])
        assert isinstance(await anext(events), PeerSynced)
        async with shared.join(bob, session="s1", groups=["@crew"], host="box") as him:
            joined = await anext(events)
            assert isinstance(joined, PeerJoined)
            assert (joined.peer.address, joined.peer.host) == (f"{bob['member']}/s1", "box")
            listed = await me.peer.list(member=bob["member"])
            assert [peer.groups for peer in listed.peers] == [["@crew"]]
            await him.presence.update(status="dnd", summary="thinking")
            changed = await anext(events)
            assert isinstance(changed, PeerChanged)
            assert (changed.peer.status, changed.peer.summary) == ("dnd", "thinking")
        assert isinstance(await anext(events), PeerLeft)


async def test_a_wrong_token_is_unauthorized_and_a_revoked_one_ends_the_client(
    shared: Process,
) -> None:
    (alice,) = await shared.members("alice")
    with pytest.raises(errors.Unauthorized):
        async with shared.join({**alice, "token": "prm_x_y"}):
            pytest.fail("there is no such client")
    async with shared.join(alice) as me, shared.join(shared.owner, observe=True) as owner:
        reading = asyncio.ensure_future(next_mail(me))
        await owner.member.remove(alice["member"])
        with pytest.raises(errors.Forbidden):
            await reading


async def test_the_same_session_elsewhere_replaces_this_one(shared: Process) -> None:
    (alice,) = await shared.members("alice")
    async with shared.join(alice, session="s1") as first:
        reading = asyncio.ensure_future(next_mail(first))
        async with shared.join(alice, session="s1") as second:
            with pytest.raises(errors.Replaced):
                await reading
            assert second.connected


async def test_a_lost_connection_is_resumed_and_nobody_sees_it_leave(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me, shared.join(bob, role="service") as him:
        events = him.events(PeerLeft, PeerJoined, PeerSynced)
        await him.peer.watch(on=True)
        while not isinstance(await anext(events), PeerSynced):
            pass
        before = me.welcome
        await lose(me)
        assert me.welcome.resumed
        assert (me.welcome.presence, me.welcome.session) == (before.presence, before.session)
        await lose(him)
        heard = []
        while not isinstance(event := await anext(events), PeerSynced):
            heard.append(event)
        assert not [event for event in heard if isinstance(event, PeerLeft)]


async def test_tls_is_spoken_where_the_url_says_so(tmp_path: Path) -> None:
    cert, key = net_certificate.write(tmp_path)
    flags = ("--tls-cert", str(cert), "--tls-key", str(key))
    broker = Process(tmp_path / "data", flags=flags)
    try:
        assert broker.url.startswith("wss://")
        trusting = net_certificate.trusting()
        async with broker.join(broker.owner, observe=True, tls=trusting) as me:
            assert (await me.member.list()).members
        with pytest.raises(errors.Unreachable, match="self-signed"):
            async with broker.join(broker.owner):
                pytest.fail("nobody knows this certificate")
    finally:
        broker.stop()


# -- mail ---------------------------------------------------------------------------------------


async def test_a_message_is_sent_handed_over_and_acked(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me, shared.join(bob, session="s1") as him:
        sent = await me.mail.send(bob["member"], {"hello": 1}, key="k1", meta={"a": 1})
        mail = await next_mail(him)
        assert (mail.message, mail.body, mail.meta) == (sent.message, {"hello": 1}, {"a": 1})
        assert mail.sender == me.address
        again = await me.mail.send(
            bob["member"], {"hello": 1}, key="k1", meta={"a": 1}, repeat=True
        )
        assert (again.message, again.duplicate) == (sent.message, True)
        await mail.ack()
        trace = await me.mail.trace(sent.message)
        assert [one.state for one in trace.deliveries] == ["acked"]


async def test_an_ack_with_outputs_is_one_step(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me, shared.join(bob) as him:
        await me.mail.send(bob["member"], "question")
        mail = await next_mail(him)
        with pytest.raises(errors.UnknownRecipient) as caught:
            await mail.reply("answer", outputs=[{"to": "nobody", "body": 1}])
        assert caught.value.detail == {"output": 1}
        reply = await mail.reply("answer")
        answer = await next_mail(me)
        assert (answer.message, answer.body) == (reply.message, "answer")
        assert answer.reply_to == mail.message
        await answer.ack()


async def test_a_nacked_mail_comes_again_and_a_buried_one_does_not(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me, shared.join(bob) as him:
        sent = await me.mail.send(bob["member"], 1)
        first = await next_mail(him)
        assert (await first.nack("busy", delay_ms=0)).failures == 1
        second = await next_mail(him)
        assert (second.message, second.attempt) == (first.message, 2)
        assert second.claim != first.claim
        assert (await second.nack("no", dead=True)).state == "dead"
        dead = await him.mail.dead(mailbox=bob["member"])
        assert [one.message for one in dead.deliveries] == [sent.message]


async def test_serving_handles_each_message_once(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    seen: list[int] = []

    async def handle(mail: Mail[int]) -> None:
        if mail.body % 10 == 9 and mail.attempt == 1:
            raise ValueError("again")
        seen.append(mail.body)
        if len(seen) == 100:
            him.stop()

    async with shared.join(alice) as me, shared.join(bob, role="service") as him:
        async with asyncio.timeout(PATIENCE * 4), asyncio.TaskGroup() as tasks:
            tasks.create_task(him.serve(handle, concurrency=8, type=int))
            for number in range(100):
                tasks.create_task(me.mail.send(bob["member"], number))
        left = await him.mail.list(mailbox=bob["member"])
        assert {one.state for one in left.deliveries} == {"acked"}
    assert sorted(seen) == list(range(100))


async def test_a_body_of_another_type_is_buried_and_the_connection_lives(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    seen: list[int] = []

    def handle(mail: Mail[int]) -> None:
        seen.append(mail.body)
        him.stop()

    async with shared.join(alice) as me, shared.join(bob, role="service") as him:
        await me.mail.send(bob["member"], "text")
        await me.mail.send(bob["member"], 1)
        async with asyncio.timeout(PATIENCE):
            await him.serve(handle, type=int)
        assert him.connected
        assert len((await him.mail.dead()).deliveries) == 1
    assert seen == [1]


async def test_what_is_held_is_renewed_beyond_its_lease(own: Process) -> None:
    alice, bob = await own.members("alice", "bob")
    async with own.join(alice) as me, own.join(bob, role="service") as him:
        sent = await me.mail.send(bob["member"], 1)
        mail = await next_mail(him)
        steps: list[Any] = []
        async with asyncio.timeout(PATIENCE):
            while not steps:
                trace = await me.mail.trace(sent.message)
                steps = [one for one in trace.deliveries[0].history if one.event == "extended"]
                await him.presence.update()
        assert not mail.lost
        assert (await mail.ack()).state == "acked"
        trace = await me.mail.trace(sent.message)
        assert (trace.deliveries[0].failures, trace.deliveries[0].claims) == (0, 1)


async def test_a_client_that_is_gone_leaves_its_mail_to_the_next(own: Process) -> None:
    alice, bob = await own.members("alice", "bob")
    async with own.join(alice) as me:
        async with own.join(bob, role="service", final=None) as him:
            await me.mail.send(bob["member"], 1)
            first = await next_mail(him)
        async with own.join(bob, role="service") as again:
            second = await next_mail(again)
            assert (second.message, second.attempt) == (first.message, 2)
            await second.ack()


async def test_a_claim_is_handed_out_once_over_a_lost_connection(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me, shared.join(bob, role="service") as him:
        await me.mail.send(bob["member"], 1)
        await me.mail.send(bob["member"], 2)
        first = await next_mail(him)
        await lose(him)
        await me.mail.send(bob["member"], 3)
        rest = [await next_mail(him) for _ in range(2)]
        assert [first.body, *(mail.body for mail in rest)] == [1, 2, 3]
        for mail in (first, *rest):
            assert (await mail.ack()).state == "acked"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_loses_nothing(own: Process, how: signal.Signals) -> None:
    alice, bob = await own.members("alice", "bob")
    seen: list[int] = []

    async def handle(mail: Mail[int]) -> None:
        seen.append(mail.body)

    async with own.join(alice) as me, own.join(bob, role="service") as him:
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(him.serve(handle, concurrency=4))

            async def send(number: int) -> None:
                await me.mail.send(bob["member"], number, key=f"k{number}", repeat=True)

            for number in range(50):
                tasks.create_task(send(number))
            await send(50)
            await anyio.to_thread.run_sync(own.stop, how)
            for number in range(51, 60):
                tasks.create_task(send(number))
            await anyio.to_thread.run_sync(own.start)
            while set(seen) != set(range(60)):
                await him.presence.update(repeat=True)
            him.stop()
            await serving
        assert me.welcome.resumed
        assert him.welcome.resumed


async def test_mail_can_be_pulled_by_an_observer(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me, shared.join(bob, observe=True) as him:
        waiting = asyncio.ensure_future(him.mail.take(2, wait_ms=5_000, type=int))
        await me.mail.send(bob["member"], 7)
        (mail,) = await waiting
        assert mail.body == 7
        await mail.ack()
        assert await him.mail.take() == []


# -- asking -------------------------------------------------------------------------------------


async def test_a_question_is_answered(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")

    async def handle(mail: Mail[Any]) -> None:
        await mail.reply({"twice": mail.body * 2})

    async with (
        shared.join(alice) as me,
        shared.join(bob, role="service") as him,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(him.serve(handle, concurrency=2))
        answers = [
            tasks.create_task(me.ask(bob["member"], number, timeout=PATIENCE))
            for number in range(10)
        ]
        for number, answer in enumerate(answers):
            assert (await answer).body == {"twice": number * 2}
        him.stop()


async def test_a_question_is_seen_to_wait_then_worked_on_then_answered(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with (
        shared.join(alice) as me,
        shared.join(bob, role="service", capacity=1) as him,
        asyncio.timeout(PATIENCE),
    ):
        await me.mail.send(bob["member"], "first")
        await me.mail.send(bob["member"], "second")
        question = me.asking(bob["member"], "third", look_seconds=0.01)
        assert await anext(question) == Queued(1)
        await (await next_mail(him)).ack()
        assert await anext(question) == Queued(0)
        await (await next_mail(him)).ack()
        mail = await next_mail(him)
        assert await anext(question) == Working()
        await mail.extend("half way")
        assert await anext(question) == Working("half way")
        await mail.reply("done")
        last = await anext(question)
        assert isinstance(last, Answered)
        assert last.body == "done"


async def test_a_question_in_vain_can_be_called_back(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me:
        with pytest.raises(errors.AskTimedOut) as caught:
            await me.ask(bob["member"], 1, timeout=0.05)
        cancelled = await caught.value.cancel()
        assert (cancelled.cancelled, cancelled.too_late) == (1, 0)


async def test_a_question_that_is_buried_says_so(shared: Process) -> None:
    alice, bob = await shared.members("alice", "bob")
    async with shared.join(alice) as me, shared.join(bob, role="service") as him:
        asking = asyncio.ensure_future(me.ask(bob["member"], 1, timeout=PATIENCE))
        await (await next_mail(him)).nack("no", dead=True)
        with pytest.raises(errors.Undelivered) as caught:
            await asking
        assert caught.value.state == "dead"


# -- dispatch -----------------------------------------------------------------------------------


def work_of(number: int) -> dict[str, str]:
    return {
        "agent_type": "tester",
        "dag_task_id": f"TASK-{number}",
        "parent_session_id": "ses_parent",
        "prompt": f"do {number}",
    }


async def test_work_is_created_leased_and_consumed(shared: Process) -> None:
    (worker,) = await shared.members("worker", agent_types=["tester"])
    async with (
        shared.join(shared.owner, role="service") as boss,
        shared.join(worker) as me,
        asyncio.timeout(PATIENCE),
    ):
        made = await boss.dispatch.create(**work_of(1), context={"branch": "main"})
        async with me.dispatch.lease(made.dispatch_key) as work:
            assert (work.prompt, work.context) == ("do 1", {"branch": "main"})
            with pytest.raises(errors.AlreadyLeased):
                async with me.dispatch.lease(made.dispatch_key):
                    pytest.fail("somebody holds it")
            work.outcome = {"files": 3}
        told = await next_mail(boss)
        assert told.kind == "dispatch.result"
        assert (told.body["status"], told.body["outcome"]) == ("consumed", {"files": 3})
        await told.ack()


async def test_work_that_breaks_is_failed(shared: Process) -> None:
    (worker,) = await shared.members("worker", agent_types=["tester"])
    async with shared.join(shared.owner, observe=True) as boss, shared.join(worker) as me:
        made = await boss.dispatch.create(**work_of(2))
        identity = work_of(2)
        prompt = identity.pop("prompt")
        identity["prompt_sha256"] = hashlib.sha256(prompt.encode()).hexdigest()

        async def work() -> None:
            async with me.dispatch.lease(**identity):
                raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await work()
        shown = await boss.dispatch.get(dispatch=made.dispatch)
        assert shown.status == "failed"
        assert (shown.attempts[0].reason, shown.attempts[0].error) == ("ValueError", "broken")
