"""A storm: forty delegations within a second to four workers that do one thing at a time.

None fails, all complete, in order of priority and age; also when a worker is killed twice in the
middle, and when the broker is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rig import Peer, Rig, rig

WORKERS = ("ada", "ben", "cid", "dot")
STORM = 40
TICK_MS = 100
MOST_TICKS = 600
PRIORITIES = {0: "critical", 1: None, 2: None, 3: "info"}
"""Half of the tasks are sent by the leader itself, with a priority; None is `send: true`."""
ORDER = {"critical": 0, None: 1, "info": 2}


def number(id: str) -> int:
    """Which one in the storm."""
    return int(id.removeprefix("storm"))


def priority(storm: int) -> str | None:
    """Of which priority this one is."""
    return PRIORITIES[storm // len(WORKERS) % len(PRIORITIES)]


def callee(storm: int) -> str:
    """Who is asked for this one."""
    return WORKERS[storm % len(WORKERS)]


class Worker:
    """Does one task at a time: begins in one tick, finishes in the next."""

    def __init__(self, rig: Rig, name: str) -> None:
        self.rig = rig
        self.name = name
        self.resume: str | None = None
        self.peer: Peer
        self.first_claims: list[str] = []
        self.begun: list[dict[str, Any]] = []

    async def join(self, *, resume: bool = True) -> None:
        """Connect, again if need be."""
        value = self.resume if resume else None
        self.peer = await self.rig.join(self.name, role="service", capacity=1, resume=value)
        self.resume = self.peer.welcome["resume"]
        assert self.peer.welcome["resumed"] is (value is not None)
        self.begun = []

    async def finish(self, *, ack: bool = True) -> None:
        """Complete what was begun."""
        for mail in self.begun:
            id = mail["body"]["delegation"]
            fields = {"delegation": id, "status": "completed", "result": f"{id} by {self.name}"}
            answer = await self.peer.answer("delegation.update", **fields)
            assert answer["ok"]["status"] == "completed", answer
            assert answer["ok"]["late"] is False
            if ack:
                held = {"delivery": mail["delivery"], "claim": mail["claim"]}
                await self.peer.ask("mail.ack", **held)
        self.begun = []

    async def begin(self) -> None:
        """Take what has come."""
        for mail in self.peer.mail():
            self.begun.append(mail)
            id = mail["body"]["delegation"]
            if mail["claims"] == 1 and id not in self.first_claims:
                self.first_claims.append(id)
            answer = await self.peer.answer(
                "delegation.update", delegation=id, status="in_progress"
            )
            # Whoever was killed between result and ack is told that there is nothing left to do.
            assert "ok" in answer or answer["error"]["detail"] == {"status": "completed"}

    async def tick(self) -> None:
        """Work on."""
        await self.finish()
        await self.begin()

    async def kill(self) -> None:
        """The worker dies with what it has in hand."""
        await self.peer.lose()


class Storm:
    """The leader, the four, and what they do."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.workers = [Worker(rig, name) for name in WORKERS]
        self.leader: Peer
        self.leader_resume: str | None = None
        self.told: dict[str, list[dict[str, Any]]] = {}

    async def join(self) -> None:
        """Everybody comes, or comes back."""
        hello: dict[str, Any] = {"role": "service", "capacity": 1_000}
        self.leader = await self.rig.join("leader", resume=self.leader_resume, **hello)
        self.leader_resume = self.leader.welcome["resume"]
        for worker in self.workers:
            await worker.join()

    async def break_loose(self) -> None:
        """Ask for everything within a second; nothing is refused."""
        for storm in range(STORM):
            id, kind = f"storm{storm}", priority(storm)
            opened = await self.leader.ask(
                "delegation.open",
                delegation=id,
                callee=callee(storm),
                task={"number": storm},
                send=kind is None,
            )
            assert opened["created"] is True
            if kind is not None:
                await self.leader.ask(
                    "mail.send", to=callee(storm), body={"delegation": id}, priority=kind
                )
            await self.rig.advance(1_000 // STORM)

    async def tick(self) -> bool:
        """A moment of work; whether all of it is done."""
        for worker in self.workers:
            await worker.tick()
        await self.hear()
        await self.rig.advance(TICK_MS)
        return len(self.told) == STORM

    async def hear(self) -> None:
        """The leader reads its mail."""
        for mail in self.leader.mail():
            assert mail["kind"] == "delegation.result"
            mails = self.told.setdefault(mail["body"]["delegation"], [])
            if mail["message"] not in [one["message"] for one in mails]:
                mails.append(mail)
            held = {"delivery": mail["delivery"], "claim": mail["claim"]}
            await self.leader.ask("mail.ack", **held)

    async def pass_over(self) -> None:
        """Work until all is done."""
        for _ in range(MOST_TICKS):
            if await self.tick():
                return
        missing = {f"storm{storm}" for storm in range(STORM)} - self.told.keys()
        pytest.fail(f"not done: {sorted(missing, key=number)}")

    async def check(self) -> None:
        """None failed, all are complete, each was told once, in order of priority and age."""
        stats = await self.leader.ask("delegation.stats")
        by_status = {status: count for status, count in stats["by_status"].items() if count}
        assert by_status == {"completed": STORM}
        assert stats["oldest_in_flight_ms"] is None
        for id, mails in self.told.items():
            assert len(mails) == 1
            assert mails[0]["body"]["status"] == "completed"
            assert mails[0]["body"]["result"] == f"{id} by {callee(number(id))}"
        for worker in self.workers:
            await worker.finish()
            assert len(worker.first_claims) == STORM // 4
            first, *others = worker.first_claims
            # The first came when nothing else was there.
            assert first == f"storm{WORKERS.index(worker.name)}"
            assert others == sorted(
                others, key=lambda id: (ORDER[priority(number(id))], number(id))
            )


@asynccontextmanager
async def storm(directory: Path) -> AsyncIterator[Storm]:
    """The storm over a broker with short leases."""
    async with rig(directory, mail__lease_ms=2_000, mail__backoff_ms=200) as broker:
        one = Storm(broker)
        await one.join()
        await one.break_loose()
        yield one


async def test_it_passes(tmp_path: Path) -> None:
    async with storm(tmp_path) as one:
        await one.pass_over()
        await one.check()


@pytest.mark.parametrize("resume", [True, False])
async def test_a_worker_is_killed_twice(tmp_path: Path, resume: bool) -> None:
    async with storm(tmp_path) as one:
        victim = one.workers[1]
        await one.tick()
        await one.tick()
        await victim.kill()
        await one.rig.advance(500)
        await victim.join(resume=resume)
        for _ in range(3):
            await one.tick()
        # This time with the result told and the mail not acked.
        await victim.finish(ack=False)
        await victim.kill()
        await one.rig.advance(500)
        await victim.join(resume=resume)
        await one.pass_over()
        await one.check()


async def test_the_broker_is_killed_twice(tmp_path: Path) -> None:
    async with storm(tmp_path) as one:
        for _ in range(2):
            for _ in range(3):
                await one.tick()
            await one.rig.restart()
            await one.rig.advance(1_000)
            await one.join()
        await one.pass_over()
        await one.check()


async def test_everybody_is_killed(tmp_path: Path) -> None:
    async with storm(tmp_path) as one:
        await one.tick()
        for worker in one.workers:
            await worker.finish(ack=False)
            await worker.kill()
        await one.rig.restart()
        await one.join()
        await one.tick()
        for worker in one.workers:
            await worker.kill()
            await worker.join(resume=False)
        await one.pass_over()
        await one.check()
