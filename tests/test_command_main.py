"""The command line as people and programs use it: processes of their own, against a real broker."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from clients_process import Process
from command_rig import POSTROOM, Done, Here, running

import broker
from broker.wire.fields import Role
from clients import Client, connect
from clients.command.lookup import Flags, look_up

NOWHERE = "ws://127.0.0.1:1/v1"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A machine with a broker on it."""
    with running(tmp_path_factory.mktemp("machine")) as place:
        yield place


@pytest.fixture(scope="module")
def bob(here: Here) -> Here:
    """The same machine, as a member."""
    return here.as_member("bob", here.run("member", "add", "bob", "--json").json["token"])


@asynccontextmanager
async def present(
    here: Here, role: Role = "session", session: str | None = None
) -> AsyncIterator[Client]:
    """Somebody is there while the block runs."""
    account = look_up(Flags(), here.environment())
    async with connect(
        account.url, member=account.member, token=account.token, role=role, session=session
    ) as me:
        yield me


async def meanwhile(here: Here, *words: str) -> Done:
    """Give a command while the loop goes on."""
    return await anyio.to_thread.run_sync(lambda: here.run(*words))


def test_a_first_message_between_two_peers(here: Here, bob: Here) -> None:
    sent = here.process("mail", "send", "bob", "hi")
    assert (sent.code, sent.err) == (0, "")
    assert sent.out.splitlines()[0].endswith(": 1 copy")
    assert "bob  queued, next in line (offline)" in sent.out
    received = bob.process("mail", "receive", "--max", "99")
    assert (received.code, received.err) == (0, "")
    assert received.out.splitlines()[1:] == ["hi"]
    assert bob.run("mail", "receive").out == "No mail.\n"


def test_what_one_process_claims_another_acks(here: Here, bob: Here) -> None:
    message = here.run("mail", "send", "bob", "--body-json", '{"n": 1e400}', "--json").json
    claimed = bob.process("mail", "claim", "--json").out
    assert '"body":{"n": 1e400},' in claimed
    (held,) = json.loads(claimed)["deliveries"]
    assert held["message"] == message["message"]
    assert bob.run("mail", "claim", "--json").json == {"deliveries": []}
    assert bob.run("mail", "extend", held["delivery"], held["claim"], "--lease-ms", "5m").code == 0
    acked = bob.run("mail", "ack", held["delivery"], held["claim"], "--json").json
    assert acked == {"state": "acked", "outputs": [], "duplicate": False}
    trace = here.run("mail", "trace", message["message"], "--json").json
    events = [step["event"] for step in trace["deliveries"][0]["history"]]
    assert events == ["accepted", "claimed", "extended", "acked"]


def test_what_is_received_without_an_ack_stays_held(here: Here, bob: Here) -> None:
    for number in range(3):
        here.run("mail", "send", "bob", str(number))
    kept = bob.run("mail", "receive", "--max", "2", "--no-ack", "--json").json["deliveries"]
    assert [one["body"] for one in kept] == ["0", "1"]
    rest = bob.run("mail", "receive", "--max", "9", "--json").json["deliveries"]
    assert [one["body"] for one in rest] == ["2"]
    for one in kept:
        nacked = bob.run("mail", "nack", one["delivery"], one["claim"], "--dead", "--json").json
        assert nacked["state"] == "dead"
    dead = bob.run("mail", "dead", "--json").json["deliveries"]
    assert [one["delivery"] for one in dead] == [one["delivery"] for one in kept]
    assert bob.run("mail", "redrive", dead[0]["delivery"], "--json").json["count"] == 1
    assert bob.run("mail", "drop", "--mailbox", "bob", "--json").json["count"] >= 1
    bob.run("mail", "receive", "--max", "9")


async def test_receiving_waits_for_the_first(here: Here, bob: Here) -> None:
    process = bob.start("mail", "receive", "--wait", "20s")
    async with present(here) as me:
        await anyio.sleep(0.5)
        await me.call("mail.send", to="bob", body="late")
    out, _ = await anyio.to_thread.run_sync(process.communicate)
    assert out.splitlines()[1:] == ["late"]


def test_a_dispatch_is_retried_by_its_number_key_or_identity(here: Here) -> None:
    identity = ("coder", "TASK-1", "ses_1")
    made = here.run("dispatch", "create", *identity, "dig\n", "--json").json
    number, key = made["dispatch"], made["dispatch_key"]
    ways = (
        (number, "dig\n"),
        ("--dispatch-key", key, "dig\n"),
        (*identity, "dig\n"),
        (number, "--prompt-file", "-"),
    )
    for attempt, way in enumerate(ways, 2):
        assert here.run("dispatch", "cancel", number).code == 0
        again = here.run("dispatch", "retry", *way, "--json", stdin="dig\n").json
        assert (again["dispatch"], again["attempt"], again["created"]) == (number, attempt, False)
    for words, said in (
        ((number, "other"), "prompt_hash_mismatch: "),
        ((number,), "prompt is missing"),
        ((number, "x", "--prompt", "dig\n"), "prompt is given twice"),
        ((*identity, "dig\n", "more"), "a dispatch, or its agent type"),
        ((), "is missing"),
    ):
        assert said in here.run("dispatch", "retry", *words).err


def test_a_delegation_is_cancelled_by_its_caller(here: Here, bob: Here) -> None:
    opened = here.run("delegation", "open", "bob", "--task-json", '{"dig": 1}', "--json").json
    assert bob.run("delegation", "cancel", opened["delegation"]).code == 1
    assert here.run("delegation", "cancel", opened["delegation"]).code == 0
    found = bob.run("delegation", "get", opened["delegation"], "--json").json
    assert (found["status"], found["task"]) == ("cancelled", {"dig": 1})
    mine = here.run("delegation", "list", "--as", "caller", "--json").json["delegations"]
    assert [one["delegation"] for one in mine] == [opened["delegation"]]
    assert here.run("delegation", "list", "--as", "callee", "--json").json["delegations"] == []


async def test_who_is_there_and_who_is_hidden(here: Here, bob: Here) -> None:
    assert (await meanwhile(bob, "peer", "list")).out == "Nobody is online.\n"
    async with present(here, "control-plane"), present(here, session="s1"):
        lines = (await meanwhile(bob, "peer", "list")).out.splitlines()
        assert [line.split()[0] for line in lines[:-1]] == ["ADDRESS", "owner/s1"]
        assert lines[-1] == "1 control-plane peer hidden: --all shows everybody"
        everybody = (await meanwhile(bob, "peer", "list", "--all", "--json")).json
        assert [one["role"] for one in everybody["peers"]] == ["control-plane", "session"]
        assert everybody["hidden"] in ({}, {"control-plane": 0})
        planes = (await meanwhile(bob, "peer", "list", "--role", "control-plane")).out
        assert [line.split()[0] for line in planes.splitlines()] == ["ADDRESS", "owner"]


async def test_a_watch_tells_each_change_until_it_is_stopped(here: Here, bob: Here) -> None:
    watch = bob.start("peer", "list", "--watch")
    documents = bob.start("peer", "list", "--watch", "--json")
    assert watch.stdout is not None
    assert documents.stdout is not None
    assert await anyio.to_thread.run_sync(watch.stdout.readline) == "Nobody is online.\n"
    assert await anyio.to_thread.run_sync(documents.stdout.readline) == '{"ev":"peer.synced"}\n'
    async with present(here, session="s2"):
        line = await anyio.to_thread.run_sync(watch.stdout.readline)
        assert line.startswith("owner/s2 joined  session")
        event = json.loads(await anyio.to_thread.run_sync(documents.stdout.readline))
        assert (event["ev"], event["peer"]["address"]) == ("peer.joined", "owner/s2")
    for process in (watch, documents):
        process.send_signal(signal.SIGINT)
        out, err = await anyio.to_thread.run_sync(process.communicate)
        assert (process.returncode, err) == (130, "")
    assert "owner/s2 left" in out or "peer.left" in out


def test_a_watch_says_when_the_broker_is_away(tmp_path: Path) -> None:
    served = Process(tmp_path / "data")
    who = {"POSTROOM_URL": served.url, "POSTROOM_MEMBER": "owner"}
    token = served.owner["token"]
    program = "from clients.command.main import main; raise SystemExit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "peer", "list", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **who, "POSTROOM_TOKEN": token},
    ) as watch:
        try:
            assert watch.stdout is not None
            assert watch.stderr is not None
            assert watch.stdout.readline() == "Nobody is online.\n"
            served.stop(signal.SIGKILL)
            line = watch.stderr.readline()
            assert line.startswith("postroom: the connection was lost")
            assert line.endswith("connecting again\n")
        finally:
            watch.kill()


async def test_a_list_is_all_its_pages(here: Here) -> None:
    async with present(here) as me:
        async with anyio.create_task_group() as tasks:
            for number in range(205):
                tasks.start_soon(_add, me, f"page{number}")
        whole = (await meanwhile(here, "member", "list", "--json")).json
        assert len({one["member"] for one in whole["members"]}) == len(whole["members"]) >= 206
        assert whole["next"] is None
        page = (await meanwhile(here, "member", "list", "--limit", "3", "--json")).json
        assert (len(page["members"]), page["next"] is None) == (3, False)


async def _add(me: Client, name: str) -> None:
    await me.call("member.add", member=name)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("mail trace m999999", 1, "not_found: "),
        ("mail send nobody hi", 1, "unknown_recipient: "),
        ("mail send bob hi --kind receipt", 1, "forbidden: "),
        ("member add Bob", 1, "bad_request: "),
        ("peer list --mesh elsewhere", 1, "unauthorized: "),
        ("peer list --as bob", 1, "unauthorized: "),
        ("mail send", 2, "to is missing (see postroom mail send --help)"),
        ("mail send bob not quoted", 2, "too many words: quoted; quote a text (see postroom mail "),
        ("dispatch retry w1", 2, "prompt is missing: bring it again"),
        ("mail send bob", 2, "body is missing"),
        ("mail list --limit", 2, "--limit requires an argument"),
        ("peer list --role boss", 2, "--role: 'boss' is not one of "),
        ("mail receive --max 0", 2, "--max is at least 1, not 0"),
        ("serve --port 65536", 2, "65536 is not between 0 and 65535"),
        ("mail frob", 2, 'Unknown command "frob"'),
        ("--url", 2, "--url: its value is missing"),
        ("--json", 2, "a command is missing"),
        ("--url ws://127.0.0.1 --json", 2, "a command is missing"),
        ("--frob", 2, 'Unknown command "--frob"'),
        ("peer list --frob", 2, "Unknown option: --frob"),
        ("mail redrive", 2, "one of `delivery` and `mailbox`"),
        ("peer list --url http://127.0.0.1", 2, "no WebSocket address"),
        ("peer list --url 127.0.0.1:7450", 2, "no WebSocket address"),
        ("peer list --url ws://[::1/v1", 2, "no WebSocket address"),
        ("peer list --url ws://127.0.0.1:0/v1", 2, "no WebSocket address"),
        ("peer list --url=", 2, "--url: it is empty"),
        ("peer list --as=", 2, "--as: it is empty"),
        ("peer list --token-file=", 2, "--token-file: it is empty"),
        (
            f"peer list --url {NOWHERE}",
            3,
            "the broker can't be reached: 127.0.0.1:1: Connection refused",
        ),
    ],
)
def test_each_failure_is_one_line_and_one_code(
    here: Here, bob: Here, line: str, code: int, said: str
) -> None:
    assert bob is not here
    done = here.run(*line.split())
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("postroom: ")
    assert "Traceback" not in done.err
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_fault_of_ours_is_one_line_too(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(given: list[str]) -> int:
        raise ZeroDivisionError(f"of {given}")

    monkeypatch.setattr("clients.command.main._run", broken)
    done = here.run("peer", "list")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith("postroom: ZeroDivisionError: of ['peer', 'list'] (POSTROOM_")
    here = Here(here.home, {"POSTROOM_TRACEBACK": "1"})
    with pytest.raises(ZeroDivisionError):
        here.run("peer", "list")


def test_a_refused_token_says_where_it_came_from(here: Here) -> None:
    done = here.run("peer", "list", "--token", "prm_x_y", "--as", "owner")
    assert done.err.rstrip().endswith("(member owner, token from --token)")


def test_a_token_of_any_role_may_command(here: Here, bob: Here) -> None:
    for role in ("service", "control-plane"):
        token = here.run("token", "create", "bob", "--roles", role, "--json").json["token"]
        done = bob.run("mail", "list", "--token-file", "-", stdin=token)
        assert done.code == 0, done.err


@pytest.mark.parametrize("words", ["mail list", "--help", "mail list --help", ""])
def test_a_closed_pipe_is_quiet(bob: Here, words: str) -> None:
    process = bob.start(*words.split())
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 141
    process.stderr.close()


@pytest.mark.parametrize(
    "words", ["mail list", "mail send bob hi", "--help", "--version", "migrate status"]
)
def test_an_answer_that_cannot_be_written_is_told(bob: Here, words: str) -> None:
    if words.startswith("migrate"):
        bob = Here(bob.home / "elsewhere")
        bob.home.mkdir(exist_ok=True)
    with Path("/dev/full").open("w") as nowhere:
        done = subprocess.run(
            [*POSTROOM, *words.split()],
            cwd=bob.home,
            env=bob.environment(),
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    said = "postroom: the answer cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (4, said)


def test_what_cannot_be_told_has_its_code(here: Here) -> None:
    with Path("/dev/full").open("w") as nowhere:
        done = subprocess.run(
            [*POSTROOM, "frob"],
            cwd=here.home,
            env=here.environment(),
            stderr=nowhere,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2


def test_a_terminal_without_a_letter_gets_its_number(here: Here, bob: Here) -> None:
    here.run("mail", "send", "bob", "grün")
    narrow = Here(bob.home, {**bob.variables, "PYTHONIOENCODING": "ascii"})
    done = narrow.process("mail", "receive", "--max", "99")
    assert (done.code, done.err) == (0, "")
    assert r"gr\xfcn" in done.out


def test_a_broker_that_goes_is_not_taken_for_no_mail(tmp_path: Path) -> None:
    with running(tmp_path) as here:
        process = here.start("mail", "receive", "--wait", "30s")
        metrics = f"http{look_up(Flags(), here.environment()).url[2:-3]}/metrics"
        waits, end = b"postroom_waiting_claims 1.0\n", time.monotonic() + 20
        while waits not in urllib.request.urlopen(metrics, timeout=20).read():  # noqa: S310 - http
            assert time.monotonic() < end
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (3, "")
    assert err == "postroom: the broker is going away; until now there was no mail\n"


def test_one_interrupt_ends_a_command_that_reads(bob: Here) -> None:
    process = bob.start("mail", "send", "bob", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("not all of it")
    process.stdin.flush()
    end = time.monotonic() + 20
    while _unread(process.stdin.fileno()):  # once it has read this, it waits for the rest
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    _, said = process.communicate()
    assert said == ""


def _unread(pipe: int) -> int:
    """How many bytes of a pipe nobody has read yet."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(count)


@pytest.mark.parametrize(("closed", "code"), [(0, 2), (1, 0)])
def test_a_stream_that_is_closed_from_the_start(bob: Here, closed: int, code: int) -> None:
    words = ["mail", "send", "bob", "-" if closed == 0 else "hi", "--json"]
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}>&-', "sh", *POSTROOM, *words],
        cwd=bob.home,
        env=bob.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr == ("" if code == 0 else "postroom: standard input is closed\n")


def test_a_fault_of_tls_is_told_in_its_own_words(here: Here) -> None:
    account = look_up(Flags(), here.environment())
    done = here.run("peer", "list", "--url", account.url.replace("ws:", "wss:"))
    assert done.code == 3
    assert "SSL" in done.err
    assert done.err.count("\n") == 1


def test_nothing_is_known_of_a_broker_that_was_never_there(tmp_path: Path) -> None:
    done = Here(tmp_path).run("peer", "list")
    assert (done.code, done.out) == (3, "")
    assert "no broker is known here" in done.err


def test_a_command_without_a_verb_is_shown_the_verbs(here: Here) -> None:
    done = here.run("mail")
    assert (done.code, done.out.split("\n")[0]) == (2, "Usage: postroom mail COMMAND")
    assert here.run("mail", "--help").code == 0


def test_the_broker_is_steered_by_the_same_command(here: Here) -> None:
    for words in (("migrate", "status"), ("doctor",)):
        done = here.run(*words)
        assert (done.code, done.out) == (1, "")
        assert "is in use by postroom serve" in done.err


PROGRAM = "import sys; from clients.command.main import main; main({}); print(*sys.modules)"


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["--version"], {"asyncio", "cyclopts", "msgspec", "broker.app"}),
        (["--help"], {"asyncio", "websockets", "broker.app"}),
        (["peer", "list", "--json"], {"rich", "uvloop", "sqlite3", "broker.app"}),
    ],
)
def test_a_start_imports_what_it_needs(here: Here, words: list[str], unused: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(words)],
        env=here.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(done.stdout.splitlines()[-1].split())
    assert not modules & unused


def test_the_version_is_the_brokers(here: Here) -> None:
    assert here.run("--version").out == f"postroom {broker.__version__}\n"
