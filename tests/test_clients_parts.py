"""The small parts of the client by themselves: joining, stubs, what a hello remembers."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop
from clients_stub import ALICE, delivery, sent, stub

import clients
from broker.wire.operations import OPERATIONS
from clients import Client, caller, connect, errors, link, output, stubs
from clients.mail import Mail
from clients.spaces import SPACES


@pytest.mark.parametrize("most", [10, 20, 200, 100_000])
def test_frames_are_joined_in_order_within_the_limit(most: int) -> None:
    frames = [json.dumps({"n": number}).encode() for number in range(1_200)]
    messages = list(link.joined(frames, most))
    found: list[Any] = []
    for message in messages:
        assert len(message) <= max(most, 12)
        decoded = json.loads(message)
        found += decoded if isinstance(decoded, list) else [decoded]
    assert found == [{"n": number} for number in range(1_200)]
    if most > 20:
        assert len(messages) <= 1_200 * 14 / most + 2 + 1_200 / link.FRAMES_AT_ONCE


def test_the_stubs_are_fresh(checkout: Path) -> None:
    check = [sys.executable, "-m", "clients.stubs", "--check"]
    done = subprocess.run(check, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stale_stub_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stubs, "HERE", tmp_path)
    assert stubs.main(["--check"]) == 1
    assert "is stale" in capsys.readouterr().err
    assert stubs.main(["--write"]) == 0
    assert stubs.main(["--check"]) == 0
    assert stubs.main([]) == 2


def test_every_operation_has_its_method() -> None:
    for op in OPERATIONS.keys() - caller.OWN:
        noun, _, verb = op.partition(".")
        assert op in caller.TABLE
        assert callable(getattr(SPACES[noun], verb))


def test_no_field_hides_an_option_of_a_call() -> None:
    for operation in caller.TABLE.values():
        assert not operation.names & {"timeout", "repeat", "request", "self"}


def test_every_public_name_is_there() -> None:
    for name in clients.__all__:
        assert getattr(clients, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = clients.nonsense


def test_what_happens_once_only_exists() -> None:
    assert caller.TABLE.keys() >= caller.ONCE_ONLY


def test_an_output_is_checked() -> None:
    assert output(("a", "b"), 1, kind="x") == {"to": ["a", "b"], "body": 1, "kind": "x"}
    with pytest.raises(TypeError, match="colour"):
        output("a", 1, colour=1)


def test_types_are_known_to_checkers(checkout: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from clients import Client, Mail, connect, errors\n"
        "async def main(me: Client) -> None:\n"
        "    reveal_type(await me.peer.list(roles=['session']))\n"
        "    reveal_type(await me.call('mail.send', to='bob', body=1))\n"
        "    reveal_type(me.mail(type=int))\n"
        "    async with me.dispatch.lease('k') as work:\n"
        "        reveal_type(work.prompt)\n"
        "    reveal_type(errors.NotFound)\n"
        "    await me.group.join(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(program)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Revealed type is "broker.wire.presence.Peers"' in done.stdout
    assert 'Revealed type is "broker.wire.mail.send.Sent"' in done.stdout
    assert re.search(r"MailReader\[(builtins\.)?int\]", done.stdout)
    assert re.search(r'type is "(builtins\.)?str"', done.stdout)
    assert "NotFound" in done.stdout
    assert 'has incompatible type "int"; expected "str"' in done.stdout
    assert "Found 1 error" in done.stdout


def test_it_works_on_uvloop() -> None:
    async def scenario() -> list[str]:
        seen: list[str] = []

        async def handle(mail: Mail[Any]) -> None:
            seen.append(mail.message)

        async with (
            stub() as broker,
            connect(broker.url, **ALICE) as me,
            asyncio.TaskGroup() as tasks,
        ):
            assert isinstance(me, Client)
            line = await broker.line()
            tasks.create_task(me.serve(handle))
            tasks.create_task(me.mail.send("bob", 1))
            await line.answer("mail.send", sent())
            await line.say(delivery())
            await line.answer("mail.ack", {"state": "acked", "outputs": []})
            me.stop()
            await line.answer("presence.update")
        return seen

    assert uvloop.run(scenario()) == ["m1"]


def test_a_fault_can_be_raised_to_many() -> None:
    fault = errors.ConnectionLost("gone", 1001)
    again = fault.again()
    assert again is not fault
    assert isinstance(again, errors.ConnectionLost)
    assert (str(again), again.close_code) == ("gone", 1001)
