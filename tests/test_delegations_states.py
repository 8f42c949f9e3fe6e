"""The table of transitions, pair by pair: as a table, and as the broker answers."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from delegation_parties import parties

from broker.areas.delegations.states import (
    CALLEE_SAYS,
    CALLER_SAYS,
    IN_FLIGHT,
    STATUSES,
    STEPS,
    check_speaker,
    check_step,
    has_ended,
)
from broker.wire.delegations import DelegationStatus
from broker.wire.errors import Refused

LEGAL = {
    ("queued", "dispatched"),
    ("queued", "in_progress"),
    ("queued", "completed"),
    ("queued", "failed"),
    ("queued", "stuck"),
    ("queued", "cancelled"),
    ("dispatched", "in_progress"),
    ("dispatched", "completed"),
    ("dispatched", "failed"),
    ("dispatched", "stuck"),
    ("dispatched", "cancelled"),
    ("in_progress", "completed"),
    ("in_progress", "failed"),
    ("in_progress", "stuck"),
    ("in_progress", "cancelled"),
}
PAIRS = [(status, to) for status in STATUSES for to in STATUSES]


@pytest.mark.parametrize(("status", "to"), PAIRS)
def test_the_table(status: DelegationStatus, to: DelegationStatus) -> None:
    if (status, to) in LEGAL:
        check_step(status, to)
        return
    with pytest.raises(Refused, match=f"that is {status} does not become {to}") as refused:
        check_step(status, to)
    assert refused.value.code == "invalid_transition"
    assert refused.value.detail == {"status": status}


def test_there_are_seven() -> None:
    assert set(STEPS) == set(STATUSES) == set(get_args(DelegationStatus))
    assert len(STATUSES) == 7
    assert IN_FLIGHT == ("queued", "dispatched", "in_progress")
    assert [status for status in STATUSES if has_ended(status)] == [
        "completed",
        "failed",
        "stuck",
        "cancelled",
    ]
    assert set(STATUSES) - CALLEE_SAYS - CALLER_SAYS == {"stuck"}


@pytest.mark.parametrize("to", STATUSES)
@pytest.mark.parametrize("caller", [True, False])
@pytest.mark.parametrize("callee", [True, False])
def test_who_may_say_what(to: DelegationStatus, caller: bool, callee: bool) -> None:
    allowed = (to == "cancelled" and caller) or (to not in ("cancelled", "stuck") and callee)
    if allowed:
        check_speaker(to, caller=caller, callee=callee)
        return
    with pytest.raises(Refused, match="forbidden: status"):
        check_speaker(to, caller=caller, callee=callee)


@pytest.mark.parametrize("status", STATUSES)
async def test_what_the_broker_answers_to_each_step(tmp_path: Path, status: str) -> None:
    async with parties(tmp_path) as p:
        for to in STATUSES:
            if to == "stuck":
                continue
            id = f"{status}-{to}"
            await p.open(id, deadline_ms=1_000_000)
            await p.bring_to(status, id)
            says = p.leader if to == "cancelled" else p.worker
            answer = await says.answer("delegation.update", delegation=id, status=to)
            stands = (await p.get(id))["status"]
            if (status, to) in LEGAL:
                assert answer["ok"] == {"status": to, "duplicate": False, "late": False}
                assert stands == to
            elif status == to:
                assert answer["ok"] == {"status": to, "duplicate": True, "late": False}
                assert stands == status
            else:
                assert answer["error"]["code"] == "invalid_transition", answer
                assert answer["error"]["detail"] == {"status": status}
                assert stands == status
        assert p.counts_agree()
