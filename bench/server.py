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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench.machine import ROOT
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

DURABILITY = {
    "broker": "SQLite WAL, synchronous=FULL; answers and deliveries leave after the sync",
    "relay": "SQLite WAL, synchronous=FULL; answers and deliveries leave after the sync",
    "echo": "none",
    "commits": "SQLite WAL, synchronous=FULL",
}


class Server:
    """A started target."""

    def __init__(self, kind: str, data: Path, process: subprocess.Popen[str], url: str) -> None:
        self.kind = kind
        self.data = data
        self.process = process
        self.url = url

    @property
    def pid(self) -> int:
        """Whose CPU and memory are counted."""
        return self.process.pid

    def tokens(self, names: list[str]) -> list[str]:
        """Make the members of a case known; their tokens, in order."""
        if self.kind != "broker":
            return [ANY_TOKEN] * len(names)
        owner = (self.data / "owner.token").read_text().strip()
        try:
            return _add_members(self.url, owner, names)
        except (OSError, WebSocketException) as error:
            raise RunFailed(f"the broker took no members: {error}") from error

    def stop(self) -> None:
        """Let it end in order; a target that doesn't is a failed run."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"the {self.kind} did not stop within {STOP_SECONDS:g} s") from None
        if self.kind == "broker" and code != 0:
            raise RunFailed(f"the broker ended with {code}: {_last_words(self.data)}")


@contextmanager
def started(kind: str, data: Path, core: int, settings: list[str]) -> Iterator[Server]:
    """A target of this kind, ready, on this core; killed on the way out if it still runs."""
    process = spawn(_command(kind, data, settings), core, data)
    try:
        yield Server(kind, data, process, _ready(kind, process, data))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def spawn(command: list[str], core: int, data: Path) -> subprocess.Popen[str]:
    """A child that runs on one core from its first instruction."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        with (data / "stderr.log").open("a") as errors:
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


def _command(kind: str, data: Path, settings: list[str]) -> list[str]:
    if kind != "broker":
        return [sys.executable, "-m", f"bench.{kind}", str(data)]
    command = [sys.executable, "-m", "broker", "serve", "--port", "0", "--data", str(data)]
    for setting in [*DEFAULT_SETTINGS, *settings]:
        command += ["--set", setting]
    return command


def _ready(kind: str, process: subprocess.Popen[str], data: Path) -> str:
    """The address out of the ready line."""
    assert process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
            if not line:
                raise RunFailed(f"the {kind} did not start: {_last_words(data)}")
    raise RunFailed(f"the {kind} was not ready within {START_SECONDS:g} s: {_last_words(data)}")


def _last_words(data: Path) -> str:
    text = (data / "stderr.log").read_text(errors="replace").strip()
    return text[-ERRORS_SHOWN:] or "it said nothing"


def _add_members(url: str, owner: str, names: list[str]) -> list[str]:
    """As the owner, who observes: one `member.add` for each name, some at a time."""
    found: list[str] = []
    with connect(url, compression=None, max_size=None) as socket:
        hello = {"op": "hello", "id": 0, "member": "owner", "token": owner, "observe": True}
        socket.send(msgspec.json.encode(hello), text=True)
        _answer(socket.recv())
        for start in range(0, len(names), MEMBERS_AT_ONCE):
            portion = names[start : start + MEMBERS_AT_ONCE]
            frames = [
                {"op": "member.add", "id": number, "member": name}
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
