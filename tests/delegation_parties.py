"""Who takes part in a delegation, for the tests: a leader that asks, a worker that is asked.

Owns: the short ways to open one, to see how it stands, and to read the mails about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rig import Peer, Rig, rig

STUCK_MS = 10_000
DEADLINE_MS = 60_000


class Parties:
    """A leader and a worker, connected to one broker."""

    def __init__(self, broker: Rig, leader: Peer, worker: Peer) -> None:
        self.rig = broker
        self.leader = leader
        self.worker = worker
        self._read: set[str] = set()

    async def open(self, id: str = "d1", **fields: Any) -> dict[str, Any]:
        """The leader asks the worker for something."""
        fields.setdefault("task", {"do": "it"})
        opened: dict[str, Any] = await self.leader.ask(
            "delegation.open", delegation=id, callee="worker", **fields
        )
        return opened

    async def says(self, status: str, id: str = "d1", **fields: Any) -> dict[str, Any]:
        """The worker reports."""
        updated: dict[str, Any] = await self.worker.ask(
            "delegation.update", delegation=id, status=status, **fields
        )
        return updated

    async def come_back(self, *, after: int = 0, **hello: Any) -> None:
        """The broker is killed and started again, some time later; the two connect again."""
        await self.rig.crash()
        self.rig.clock.time += after
        await self.rig.start()
        self.leader = await self.rig.join("leader", role="service", capacity=1_000)
        self.worker = await self.rig.join("worker", role="service", **hello)

    async def one_batch(self) -> None:
        """Let the broker do what waits in one transaction, and no more."""
        executor = self.rig.broker.executor
        batches = executor.batches
        executor.run()
        while executor.committing:  # noqa: ASYNC110 - its end is told to the executor only
            await asyncio.sleep(0)
        assert executor.batches == batches + 1

    async def get(self, id: str = "d1") -> dict[str, Any]:
        """The delegation as the leader sees it."""
        shown: dict[str, Any] = await self.leader.ask("delegation.get", delegation=id)
        return shown

    async def steps(self, id: str = "d1") -> list[tuple[str, str]]:
        """Which status was said by whom."""
        return [(entry["status"], entry["by"]) for entry in (await self.get(id))["history"]]

    async def bring_to(self, status: str, id: str = "d1") -> None:
        """Take a queued delegation to this status on the ways of the protocol."""
        if status in ("dispatched", "in_progress", "completed", "failed"):
            await self.says(status, id)
        elif status == "cancelled":
            await self.leader.ask("delegation.update", delegation=id, status=status)
        elif status == "stuck":
            await self.says("in_progress", id)
            await self.rig.advance(STUCK_MS)

    def results(self, peer: Peer | None = None) -> list[dict[str, Any]]:
        """The bodies of the mails about ends since the last look, each once: nobody acks them."""
        mails = [mail for mail in (peer or self.leader).mail() if "result" in mail["kind"]]
        new = {mail["message"]: mail["body"] for mail in mails if mail["message"] not in self._read}
        self._read |= new.keys()
        return list(new.values())

    def counts_agree(self) -> bool:
        """Whether the counts say of each status what the rows say."""
        counted = self.rig.rows("SELECT mesh_id, status, count FROM delegation_counts WHERE count")
        rows = self.rig.rows("SELECT mesh_id, status, count(*) FROM delegations GROUP BY 1, 2")
        return sorted(counted) == sorted(rows)


@asynccontextmanager
async def parties(directory: Path, **settings: Any) -> AsyncIterator[Parties]:
    """A broker with short times, and the two of them on it."""
    settings.setdefault("delegation__stuck_ms", STUCK_MS)
    settings.setdefault("delegation__deadline_ms", DEADLINE_MS)
    async with rig(directory, **settings) as broker:
        leader = await broker.join("leader", role="service", capacity=1_000)
        worker = await broker.join("worker", role="service", capacity=1_000)
        yield Parties(broker, leader, worker)
