"""Opening: what is stored, what is mailed, and that a replay stores and mails nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from delegation_parties import DEADLINE_MS, Parties, parties
from rig import START

TABLES = (
    "delegations",
    "delegation_contents",
    "delegation_history",
    "delegation_counts",
    "messages",
)


def stored(p: Parties) -> list[Any]:
    """All that an open could have stored."""
    return [p.rig.rows(f"SELECT * FROM {table}") for table in TABLES]


async def test_an_open_is_recorded(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        opened = await p.open(key="k")
        assert opened == {"delegation": "d1", "status": "queued", "created": True}
        assert await p.get() == {
            "delegation": "d1",
            "caller": "leader",
            "callee": "worker",
            "task": {"do": "it"},
            "status": "queued",
            "key": "k",
            "deadline_at": START + DEADLINE_MS,
            "created_at": START,
            "updated_at": START,
            "history": [{"at": START, "status": "queued", "by": "leader"}],
        }
        assert p.worker.mail() == []


async def test_an_id_is_given_to_what_has_none(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        fields = {"callee": "worker", "task": 1}
        first = await p.leader.ask("delegation.open", **fields)
        # Somebody takes the ids that would come next.
        number = int(first["delegation"][1:])
        for ahead in range(2, 12, 2):
            await p.worker.ask("delegation.open", delegation=f"g{number + ahead}", **fields)
        second = await p.leader.ask("delegation.open", **fields)
        assert first["created"] is second["created"] is True
        assert len(p.rig.rows("SELECT id FROM delegations")) == 7


@pytest.mark.parametrize("send", [False, True])
@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"delegation": "d1"}, {"delegation": "d1"}),
        ({"key": "k"}, {"key": "k"}),
        ({"delegation": "d1", "key": "k"}, {"delegation": "d1", "key": "k"}),
        ({"delegation": "d1", "key": "k"}, {"delegation": "d1"}),
        ({"delegation": "d1", "key": "k"}, {"key": "k"}),
        ({"delegation": "d1", "key": "k"}, {"delegation": "d1", "key": "other"}),
        ({"delegation": "d1", "key": "k"}, {"delegation": "other", "key": "k"}),
        ({"delegation": "d1"}, {"delegation": "d1", "key": "k"}),
        ({"key": "k"}, {"delegation": "other", "key": "k"}),
    ],
)
async def test_a_replay_stores_nothing(
    tmp_path: Path, first: dict[str, str], again: dict[str, str], send: bool
) -> None:
    async with parties(tmp_path) as p:
        fields = {"callee": "worker", "task": [1, "é"], "send": send}
        opened = await p.leader.ask("delegation.open", **first, **fields)
        before = stored(p)
        p.worker.mail()
        replayed = await p.leader.ask("delegation.open", **again, **fields)
        assert replayed == {**opened, "created": False}
        assert stored(p) == before
        assert p.worker.mail() == []


async def test_replays_in_one_batch_and_after_a_restart_are_replays(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        fields: dict[str, Any] = {"callee": "worker", "task": 1, "key": "k", "send": True}
        ids = [p.leader.post("delegation.open", **fields) for _ in range(5)]
        await p.rig.settle()
        answers = [p.leader.reply(id)["ok"] for id in ids]
        assert [answer["created"] for answer in answers] == [True] + [False] * 4
        assert len({answer["delegation"] for answer in answers}) == 1
        assert len(p.worker.mail()) == 1
        await p.rig.restart()
        leader = await p.rig.join("leader", role="service")
        assert await leader.ask("delegation.open", **fields) == {**answers[0], "created": False}


async def test_a_replay_tells_how_it_stands_today(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        await p.says("completed", result=1)
        owner = await p.rig.join("owner", observe=True)
        await owner.ask("member.remove", member="worker")
        assert await p.open() == {"delegation": "d1", "status": "completed", "created": False}


@pytest.mark.parametrize(
    "other",
    [
        {"task": {"do": "it "}},
        {"callee": "leader"},
        {"deadline_ms": DEADLINE_MS + 1},
        {"send": True},
    ],
)
@pytest.mark.parametrize("name", [{"delegation": "d1"}, {"key": "k"}])
async def test_another_content_is_refused(
    tmp_path: Path, other: dict[str, Any], name: dict[str, str]
) -> None:
    async with parties(tmp_path) as p:
        await p.open(key="k")
        before = stored(p)
        fields = {"callee": "worker", "task": {"do": "it"}, **name, **other}
        error = await p.leader.refused("key_conflict", "delegation.open", **fields)
        assert next(iter(name)) in error["message"]
        assert stored(p) == before


async def test_the_default_deadline_may_be_said_aloud(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open()
        assert (await p.open(deadline_ms=DEADLINE_MS))["created"] is False


async def test_white_space_inside_a_task_is_content_and_around_it_is_not(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        for id, task, code in ((1, "[1,2]", None), (2, " [1,2] ", None), (3, "[1, 2]", "k")):
            frame = (
                f'{{"op":"delegation.open","id":"x{id}","delegation":"d1","callee":"worker",'
                f'"task":{task}}}'
            )
            p.leader.write(frame.encode())
            await p.rig.settle()
            reply = p.leader.line.frames[-1]
            assert ("error" in reply) == (code is not None), reply


async def test_an_id_and_a_key_of_two_delegations(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open("d1", key="k1")
        await p.open("d2", key="k2")
        fields = {"callee": "worker", "task": {"do": "it"}}
        await p.leader.refused(
            "key_conflict", "delegation.open", delegation="d1", key="k2", **fields
        )


async def test_an_id_of_somebody_else_is_taken_and_a_key_is_not(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        await p.open("d1", key="k")
        fields = {"callee": "worker", "task": {"do": "it"}}
        await p.worker.refused("key_conflict", "delegation.open", delegation="d1", **fields)
        opened = await p.worker.ask("delegation.open", key="k", **fields)
        assert opened["created"] is True
        assert opened["delegation"] != "d1"


@pytest.mark.parametrize("callee", ["nobody", "postroom", "worker/s1", "@team", "*", "Worker"])
async def test_a_callee_is_a_member(tmp_path: Path, callee: str) -> None:
    async with parties(tmp_path) as p:
        before = stored(p)
        await p.leader.refused(
            "unknown_recipient", "delegation.open", callee=callee, task=1, send=True
        )
        assert stored(p) == before


async def test_a_task_has_a_bound(tmp_path: Path) -> None:
    async with parties(tmp_path, limits__body=20) as p:
        await p.open("fits", task="x" * 18, send=True)
        error = await p.leader.refused(
            "too_large", "delegation.open", callee="worker", task="x" * 19
        )
        assert error["message"].startswith("task:")


async def test_the_task_is_mailed_as_it_came(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        task = '{"b":1.0,"a":1E3,"a":"\\u00e9"  }'
        p.leader.write(
            b'{"op":"delegation.open","id":1,"delegation":"d1","callee":"worker","send":true,'
            b'"task": %b }' % task.encode()
        )
        await p.rig.settle()
        opened = p.leader.line.frames[-1]["ok"]
        assert p.worker.line.raw[-1].count(b'"task":' + task.encode() + b"}") == 1
        (mail,) = p.worker.mail()
        assert mail["kind"] == "delegation.task"
        assert (mail["from"], mail["to"], mail["priority"]) == ("leader", "worker", 50)
        assert mail["body"]["delegation"] == "d1"
        assert opened["message"] == mail["message"]
        shown = p.rig.rows("SELECT task FROM delegation_contents")
        assert shown == [(task.encode(),)]


async def test_a_session_asks_in_its_own_name(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        session = await p.rig.join("asker", role="session", session="s1")
        await session.ask("delegation.open", callee="worker", task=1, send=True)
        assert p.worker.mail()[0]["from"] == "asker/s1"
        (row,) = p.rig.rows("SELECT caller_id FROM delegations")
        assert row == ("asker",)


async def test_a_full_mailbox_takes_no_task(tmp_path: Path) -> None:
    async with parties(tmp_path, mail__max_depth=1) as p:
        await p.open("d1", send=True)
        error = await p.leader.refused(
            "mailbox_full", "delegation.open", delegation="d2", callee="worker", task=1, send=True
        )
        assert (error["retryable"], error["detail"]) == (True, {"mailbox": "worker"})
        assert p.rig.rows("SELECT id FROM delegations") == [("d1",)]
        assert (await p.open("d2", task=1))["created"] is True


async def test_a_sent_task_counts_as_a_send(tmp_path: Path) -> None:
    async with parties(tmp_path, limits__send_rate=1) as p:
        for number in range(5):
            await p.open(f"d{number}", send=True)
        await p.leader.refused(
            "rate_limited", "delegation.open", delegation="d5", callee="worker", task=1, send=True
        )
        assert (await p.open("d4", send=True))["created"] is False
        assert (await p.open("unsent"))["created"] is True


async def test_previews_are_cut_and_the_whole_is_kept(tmp_path: Path) -> None:
    async with parties(tmp_path) as p:
        task = "😀" * 5_000
        await p.open(task=task)
        await p.says("completed", result="x" + task)
        ((preview, result),) = p.rig.rows("SELECT task_preview, result_preview FROM delegations")
        assert preview == '"' + "😀" * 1_023
        assert result == '"x' + "😀" * 1_023
        shown = await p.get()
        assert (shown["task"], shown["result"]) == (task, "x" + task)
