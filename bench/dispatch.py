"""Dispatch: identified work, created by one side, leased and consumed by the other.

Owns: one round: create, lease by key, consume. The creators' result mails are acked.
"""

from __future__ import annotations

from collections.abc import Callable

from bench import lanes
from bench.asker import content
from bench.procedure import Desk, Finding
from bench.traffic import RunFailed

SIDES = 10
"""Connections of creators, and as many of workers."""
AGENT_TYPE = "bench"


def main(words: list[str]) -> int:
    """`python -m bench dispatch`"""
    about = "work that is created, leased and consumed"
    return lanes.main(words, "dispatch", about, 2 * SIDES, agent_types=[AGENT_TYPE])


async def work(desk: Desk) -> Finding:
    """Rounds, then the last result mails."""
    creators = await desk.connect_all(range(SIDES), capacity=1_024)
    workers = await desk.connect_all(range(SIDES, 2 * SIDES))
    prompt = "x" * desk.number("body")
    consumed = 0

    async def round_trip(lane: int, count: int, step: Callable[[str], None]) -> None:
        nonlocal consumed
        creator, worker = creators[lane % SIDES], workers[lane % SIDES]
        created = content(
            await creator.ask(
                "dispatch.create",
                agent_type=AGENT_TYPE,
                dag_task_id=f"{lane}-{count}",
                parent_session_id="bench",
                prompt=prompt,
            )
        )
        step("create")
        leased = content(
            await worker.ask(
                "dispatch.lease", dispatch_key=created["dispatch_key"], call_id=f"{lane}"
            )
        )
        step("lease")
        finished = content(
            await worker.ask(
                "dispatch.consume",
                dispatch=leased["dispatch"],
                lease_token=leased["lease_token"],
                outcome={"done": True},
            )
        )
        step("consume")
        if finished != {"status": "consumed", "duplicate": False}:
            raise RunFailed(f"a dispatch was not consumed once: {finished}")
        consumed += 1

    figures = await lanes.rounds(desk, "dispatches", round_trip)
    await desk.until_acked(creators, consumed)
    return Finding(figures=figures, acked=consumed)
