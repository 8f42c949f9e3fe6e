"""The processes of a run: the target that is measured, pinned to a core, and how it is set up.

Owns: starting, waiting for the ready line, the members and tokens of a case, stopping.
Must not know workloads or figures.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench.machine import ROOT
from bench.targets import Target
from bench.traffic import RunFailed

START_SECONDS = 20.0
STOP_SECONDS = 15.0
READY = "postroom ready "
ERRORS_SHOWN = 800
"""Characters of a failed target's last words that go into the message."""
MEMBERS_AT_ONCE = 100
ANY_TOKEN = "any"  # noqa: S105 - the relay asks for none
DEFAULT_SETTINGS = ("limits.send_rate=0",)
"""The limit on senders is no property of speed; printed with every result."""


class Place(Struct, frozen=True, kw_only=True):
    """Where runs happen: the directory of the databases and the two cores."""

    data: Path
    server_core: int
    client_core: int
    settings: list[str]
    first: bool = False
    """Ahead of all other programs, on a machine that is shared."""


class Server:
    """A started target."""

    def __init__(
        self, target: Target, data: Path, process: subprocess.Popen[str], url: str, pid: int
    ) -> None:
        self.target = target
        self.pid = pid
        """Whose CPU and memory are counted, with those of its children."""
        self.data = data
        self.process = process
        self.url = url

    def tokens(self, names: list[str], **fields: object) -> list[str]:
        """Make the members of a case known, with these fields; their tokens, in order."""
        if self.target.server != "broker":
            return [ANY_TOKEN] * len(names)
        owner = (self.data / "owner.token").read_text().strip()
        try:
            return _add_members(self.url, owner, names, fields)
        except (OSError, WebSocketException) as error:
            raise RunFailed(f"the broker took no members: {error}") from error

    def stop(self) -> None:
        """Let it end in order; a target that doesn't is a failed run."""
        if self.process.poll() is not None:
            words = _last_words(self.data)
            raise RunFailed(f"{_name(self.target)} ended before its time: {words}")
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{self.target.name} did not stop within {STOP_SECONDS:g} s") from None
        if self.target.server == "broker" and code != 0:
            raise RunFailed(f"the broker ended with {code}: {_last_words(self.data)}")


@contextmanager
def started(target: Target, data: Path, place: Place) -> Iterator[Server]:
    """A target, ready, on its core; killed on the way out if it still runs."""
    process = spawn(_command(target, data, place.settings), place.server_core, data, place)
    try:
        url, _, pid = _ready(_name(target), process, data).partition(" ")
        yield Server(target, data, process, url, int(pid) if pid else process.pid)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def spawn(command: list[str], core: int, logs: Path, place: Place) -> subprocess.Popen[str]:
    """A child that runs on one core, ahead of others if so wanted, from its first instruction."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    if place.first:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        with (logs / "stderr.log").open("a") as errors:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
    finally:
        os.sched_setaffinity(0, mine)
        if place.first:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _command(target: Target, data: Path, settings: list[str]) -> list[str]:
    if target.server != "broker":
        return [sys.executable, "-m", target.server, str(data), *target.options]
    command = [sys.executable, "-m", "broker", "serve", "--port", "0", "--data", str(data)]
    for setting in [*DEFAULT_SETTINGS, *settings]:
        command += ["--set", setting]
    return command


def _ready(name: str, process: subprocess.Popen[str], data: Path) -> str:
    """What the ready line says: the address, and the process if it is another one."""
    assert process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
            if not line:
                raise RunFailed(f"{name} did not start: {_last_words(data)}")
    raise RunFailed(f"{name} was not ready within {START_SECONDS:g} s: {_last_words(data)}")


def line_of(process: subprocess.Popen[str], logs: Path, patience_seconds: float) -> str:
    """The next line that a generator says; one that says nothing any more is ended."""
    assert process.stdout is not None
    late = threading.Timer(patience_seconds, process.kill)
    late.start()
    try:
        line = process.stdout.readline()
    finally:
        late.cancel()
    if line:
        return line
    if process.wait() == -signal.SIGKILL:
        raise RunFailed(f"the generator said nothing for {patience_seconds:g} s")
    raise RunFailed(f"the generator failed: {_last_words(logs)}")


def _name(target: Target) -> str:
    return "the broker" if target.server == "broker" else target.name


def _last_words(data: Path) -> str:
    text = (data / "stderr.log").read_text(errors="replace").strip()
    return text[-ERRORS_SHOWN:] or "it said nothing"


def _add_members(url: str, owner: str, names: list[str], fields: dict[str, object]) -> list[str]:
    """As the owner, who observes: one `member.add` for each name, some at a time."""
    found: list[str] = []
    with connect(url, compression=None, max_size=None) as socket:
        hello = {"op": "hello", "id": 0, "member": "owner", "token": owner, "observe": True}
        socket.send(msgspec.json.encode(hello), text=True)
        _answer(socket.recv())
        for start in range(0, len(names), MEMBERS_AT_ONCE):
            portion = names[start : start + MEMBERS_AT_ONCE]
            frames = [
                {"op": "member.add", "id": number, "member": name, **fields}
                for number, name in enumerate(portion, start + 1)
            ]
            socket.send(msgspec.json.encode(frames), text=True)
            found.extend(str(_answer(socket.recv())["token"]) for _ in portion)
    return found


def _answer(data: str | bytes) -> dict[str, object]:
    reply = msgspec.json.decode(data, type=dict[str, object])
    if "error" in reply:
        raise RunFailed(f"the broker refused the set-up: {reply['error']}")
    answer = reply["ok"]
    assert isinstance(answer, dict)
    return answer
