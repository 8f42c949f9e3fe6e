"""Delegations: opened by callers, taken up and completed by callees.

Owns: one round: open, in progress, completed. The callers' result mails are acked.
"""

from __future__ import annotations

from collections.abc import Callable

from bench import lanes
from bench.asker import content
from bench.procedure import Desk, Finding
from bench.traffic import RunFailed

SIDES = 10
"""Connections of callers, and as many of callees."""


def main(words: list[str]) -> int:
    """`python -m bench delegations`"""
    about = "delegations that are opened, taken up and completed"
    return lanes.main(words, "delegations", about, 2 * SIDES)


async def work(desk: Desk) -> Finding:
    """Rounds, then the last result mails."""
    callers = await desk.connect_all(range(SIDES), capacity=1_024)
    callees = await desk.connect_all(range(SIDES, 2 * SIDES))
    task = "x" * desk.number("body")
    completed = 0

    async def round_trip(lane: int, count: int, step: Callable[[str], None]) -> None:
        nonlocal completed
        caller, callee = callers[lane % SIDES], callees[lane % SIDES]
        opened = content(
            await caller.ask("delegation.open", callee=desk.names[SIDES + lane % SIDES], task=task)
        )
        step("open")
        name = opened["delegation"]
        await callee.ask("delegation.update", delegation=name, status="in_progress")
        step("take up")
        ended = content(
            await callee.ask(
                "delegation.update", delegation=name, status="completed", result={"done": count}
            )
        )
        step("complete")
        if ended["status"] != "completed" or ended["duplicate"] or ended["late"]:
            raise RunFailed(f"a delegation was not completed once: {ended}")
        completed += 1

    figures = await lanes.rounds(desk, "delegations", round_trip)
    await desk.until_acked(callers, completed)
    return Finding(figures=figures, acked=completed)
