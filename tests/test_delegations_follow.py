"""A delegation goes with the mail of its task, and the mail with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from delegation_parties import Parties, parties
from rig import Peer


async def held(p: Parties, peer: Peer | None = None) -> dict[str, Any]:
    """The one task that the worker was handed since the last look."""
    mails = [mail for mail in (peer or p.worker).mail() if mail["kind"] == "delegation.task"]
    assert len(mails) == 1, mails
    return {"delivery": mails[0]["delivery"], "claim": mails[0]["claim"]}


async def busy(p: Parties) -> None:
    """The worker takes nothing now."""
    await p.worker.ask("presence.update", capacity=0)


async def state(p: Parties) -> str:
    """The state of the only task mail."""
    (row,) = p.rig.rows(
        "SELECT d.state FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id"
        " WHERE m.kind = 'delegation.task'"
    )
    return str(row[0])


async def test_handed_over_at_once(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        assert (await p.open(send=True))["status"] == "dispatched"
        shown = await p.get()
        assert shown["status"] == "dispatched"
        assert shown["message"] == p.worker.mail()[0]["message"]
        assert await p.steps() == [("queued", "leader"), ("dispatched", "worker")]
        assert p.counts_agree()


async def test_handed_over_when_there_is_room(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await busy(p)
        assert (await p.open(send=True))["status"] == "queued"
        await p.rig.advance(10)
        assert (await p.get())["status"] == "queued"
        await p.worker.ask("presence.update", capacity=1)
        assert (await p.get())["status"] == "dispatched"
        await held(p)


async def test_pulled(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await busy(p)
        waiting = p.worker.post("mail.claim", wait_ms=1_000)
        await p.rig.settle()
        await p.open("d1", send=True)
        assert len(p.worker.reply(waiting)["ok"]["deliveries"]) == 1
        assert (await p.get("d1"))["status"] == "dispatched"
        await p.open("d2", send=True)
        assert (await p.get("d2"))["status"] == "queued"
        assert len((await p.worker.ask("mail.claim"))["deliveries"]) == 1
        assert (await p.get("d2"))["status"] == "dispatched"


async def test_the_ack_of_the_task_ends_nothing(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open(send=True)
        await p.worker.ask("mail.ack", **await held(p))
        assert (await p.get())["status"] == "dispatched"
        await p.says("in_progress")
        await p.says("completed", result=1)
        assert [body["status"] for body in p.results()] == ["completed"]


async def test_what_is_handed_over_again_is_counted(tmp_path: Path) -> None:
    async with parties(tmp_path, mail__backoff_ms=1) as p:
        await p.open(send=True, deadline_ms=1_000_000)
        for retries in range(3):
            assert p.rig.rows("SELECT status, retry_count FROM delegations") == [
                ("dispatched", retries)
            ]
            await p.worker.ask("mail.nack", **await held(p))
            await p.rig.advance(10)
        await p.says("in_progress")
        await p.worker.ask("mail.nack", **await held(p))
        await p.rig.advance(100)
        assert p.rig.rows("SELECT status, retry_count FROM delegations") == [("in_progress", 4)]
        notes = [entry.get("note") for entry in (await p.get())["history"]]
        assert notes == [None, "handed over", *["handed over again"] * 3, None, "handed over again"]


async def test_a_dead_mail_fails_it(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open(send=True)
        await p.worker.ask("mail.nack", **await held(p), dead=True, reason="cannot read it 😀")
        shown = await p.get()
        assert (shown["status"], shown["reason"]) == ("failed", "dead")
        assert shown["error"] == "cannot read it 😀"
        assert (await p.steps())[-1] == ("failed", "postroom")
        assert p.results() == [
            {
                "delegation": "d1",
                "status": "failed",
                "result": None,
                "error": "cannot read it 😀",
                "reason": "dead",
                "late": False,
            }
        ]


async def test_a_mail_that_nobody_could_do_fails_it(tmp_path: Path) -> None:
    async with parties(tmp_path, mail__max_attempts=2, mail__backoff_ms=1) as p:
        await p.open(send=True)
        await p.says("in_progress")
        for _ in range(2):
            await p.worker.ask("mail.nack", **await held(p))
            await p.rig.advance(10)
        shown = await p.get()
        assert (shown["status"], shown["reason"]) == ("failed", "dead")
        assert len(p.results()) == 1


async def test_an_expired_mail_fails_it(tmp_path: Path) -> None:
    async with parties(tmp_path, mail__ttl_ms=1_000) as p:
        await busy(p)
        await p.open(send=True)
        await p.rig.advance(1_000)
        shown = await p.get()
        assert (shown["status"], shown["reason"]) == ("failed", "expired")
        assert [body["reason"] for body in p.results()] == ["expired"]


@pytest.mark.parametrize("taken", [True, False])
async def test_a_removed_callee_fails_it(tmp_path: Path, taken: bool) -> None:
    async with parties(tmp_path) as p:
        if not taken:
            await busy(p)
        await p.open(send=True)
        owner = await p.rig.join("owner", observe=True)
        await owner.ask("member.remove", member="worker")
        await p.rig.advance(1)
        shown = await p.get()
        assert (shown["status"], shown["reason"]) == ("failed", "expired")
        assert shown["error"] == "member_removed"
        assert len(p.results()) == 1


async def test_cancelling_it_cancels_its_mail(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await busy(p)
        await p.open(send=True)
        await p.leader.ask("delegation.update", delegation="d1", status="cancelled")
        assert await state(p) == "cancelled"
        assert await p.steps() == [("queued", "leader"), ("cancelled", "leader")]
        await p.worker.ask("presence.update", capacity=1)
        assert p.worker.mail() == []
        assert p.results() == []
        assert p.counts_agree()


async def test_cancelling_it_leaves_a_mail_that_is_held(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open(send=True)
        await p.leader.ask("delegation.update", delegation="d1", status="cancelled")
        assert await state(p) == "claimed"
        late = await p.says("completed", result=1)
        assert late == {"status": "cancelled", "duplicate": False, "late": True}
        await p.worker.ask("mail.ack", **await held(p))
        assert (await p.get())["status"] == "cancelled"
        assert [body["late"] for body in p.results()] == [True]


async def test_cancelling_its_mail_cancels_it(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await busy(p)
        opened = await p.open(send=True)
        cancelled = await p.leader.ask("mail.cancel", message=opened["message"])
        assert cancelled == {"cancelled": 1, "too_late": 0}
        shown = await p.get()
        assert (shown["status"], shown["reason"]) == ("cancelled", "cancelled")
        assert (await p.steps())[-1] == ("cancelled", "leader")
        # It has done so itself.
        assert p.results() == []


@pytest.mark.parametrize("who", ["worker", "owner"])
async def test_dropping_its_mail_cancels_it_and_tells_the_caller(tmp_path: Path, who: str) -> None:
    async with parties(tmp_path) as p:
        await busy(p)
        await p.open(send=True)
        peer = p.worker if who == "worker" else await p.rig.join("owner", observe=True)
        dropped = await peer.ask("mail.drop", mailbox="worker", state="queued")
        assert dropped["count"] == 1
        assert (await p.steps())[-1] == ("cancelled", who)
        assert [(body["status"], body["error"]) for body in p.results()] == [
            ("cancelled", "dropped")
        ]


async def test_what_has_ended_goes_with_no_mail_any_more(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await busy(p)
        opened = await p.open(send=True)
        await p.says("completed", result=1)
        before = await p.get()
        await p.worker.ask("presence.update", capacity=1)
        task = await held(p)
        assert await p.get() == before
        await p.worker.ask("mail.nack", **task, dead=True)
        await p.worker.ask("mail.redrive", mailbox="worker")
        await p.worker.ask("mail.nack", **await held(p))
        await p.leader.ask("mail.cancel", message=opened["message"])
        assert await p.get() == before
        assert p.rig.rows("SELECT retry_count FROM delegations") == [(0,)]
        assert len(p.results()) == 1


async def test_other_mails_are_none_of_its_business(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.leader.ask("mail.send", to="worker", body={"delegation": "d1"})
        (mail,) = p.worker.mail()
        await p.worker.ask("mail.nack", delivery=mail["delivery"], claim=mail["claim"], dead=True)
        assert (await p.get())["status"] == "queued"
        await p.leader.refused(
            "forbidden", "mail.send", to="worker", body=1, kind="delegation.task"
        )


async def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await busy(p)
        await p.open("d1", send=True)
        await p.open("d2", send=True)
        await p.come_back(capacity=1)
        assert (await p.get("d1"))["status"] == "dispatched"
        await p.worker.ask("mail.nack", **await held(p), dead=True)
        assert (await p.get("d1"))["status"] == "failed"
        assert (await p.get("d2"))["status"] == "dispatched"
        await p.come_back()
        await p.rig.advance(1_000_000)
        assert (await p.get("d2"))["status"] == "failed"
        assert p.counts_agree()
