"""kill -9 between the commit and the reply, three times: the repeat finds what was done.

A real process over real sockets. It kills itself when the transaction is on disk, before anything
else is done.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dispatch_desk import FIELDS, KEY, PROMPT, TABLES
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

SECONDS = 15

DIES_AT = """
import importlib, os, signal, sqlite3, sys

class Connection(sqlite3.Connection):
    seen = False

    def execute(self, sql, *values):
        cursor = super().execute(sql, *values)
        self.seen = self.seen or sql == last
        if self.seen and sql == "COMMIT":
            os.kill(os.getpid(), signal.SIGKILL)
        return cursor

connect = sqlite3.connect
sqlite3.connect = lambda *a, **more: connect(*a, **more, factory=Connection)
module, _, name = sys.argv[1].partition(".")
last = getattr(importlib.import_module("broker.areas.dispatch." + module), name) if name else None
from broker.__main__ import main
sys.exit(main(["serve", "--port", "0", "--data", sys.argv[2]]))
"""
"""A broker that ends when a transaction with one of its statements is committed."""


class Client:
    """The owner, as a worker under a label of its own."""

    def __init__(self, socket: ClientConnection, directory: Path) -> None:
        self.socket = socket
        self.mail: list[dict[str, Any]] = []
        token = (directory / "owner.token").read_text().strip()
        hello = {"member": "owner", "token": token, "role": "service", "session": "one"}
        assert self.ask("hello", **hello)["member"] == "owner"

    def ask(self, op: str, **fields: Any) -> Any:
        """What is answered, a refusal included."""
        self.socket.send(msgspec.json.encode({"op": op, "id": 1, **fields}).decode())
        while True:
            frame = msgspec.json.decode(self.socket.recv(SECONDS))
            if "re" in frame:
                return frame.get("ok", frame.get("error"))
            self.mail.append(frame)

    def hear(self) -> dict[str, Any]:
        """The next delivery."""
        if not self.mail:
            self.mail.append(msgspec.json.decode(self.socket.recv(SECONDS)))
        return self.mail.pop(0)

    def dies(self, op: str, **fields: Any) -> None:
        """Ask for what the broker does not live to answer."""
        with pytest.raises(ConnectionClosed):
            self.ask(op, **fields)


@contextmanager
def broker(directory: Path, dies_at: str) -> Iterator[Client]:
    """A broker that kills itself after the commit of this statement, named `module.CONSTANT`."""
    process = subprocess.Popen(
        [sys.executable, "-c", DIES_AT, dies_at, str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with connect(url, compression=None, open_timeout=SECONDS) as socket:
            yield Client(socket, directory)
        if dies_at != "nothing":
            assert process.wait(SECONDS) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()


def count(directory: Path) -> list[int]:
    """How many rows there are of each kind."""
    with closing(sqlite3.connect(directory / "postroom.db")) as connection:
        return [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES
        ]


@pytest.mark.timeout(4 * SECONDS)
def test_the_repeat_after_a_kill_finds_what_was_done(tmp_path: Path) -> None:
    work = {**FIELDS, "prompt": PROMPT, "context": [1]}
    asked = {"dispatch_key": KEY, "call_id": "call"}
    with broker(tmp_path, "create.INSERT") as client:
        client.dies("dispatch.create", **work)
    with broker(tmp_path, "lease.LEASE") as client:
        assert client.ask("dispatch.create", **work)["created"] is False
        client.dies("dispatch.lease", **asked)
    with broker(tmp_path, "ending.END") as client:
        leased = client.ask("dispatch.lease", **asked)
        assert (leased["prompt"], leased["context"], leased["attempt"]) == (PROMPT, [1], 1)
        held = {"dispatch": leased["dispatch"], "lease_token": leased["lease_token"]}
        assert client.ask("dispatch.lease", **{**asked, "call_id": "x"})["code"] == "already_leased"
        client.dies("dispatch.consume", **held, outcome="done")
    with broker(tmp_path, "nothing") as client:
        again = client.ask("dispatch.consume", **held, outcome="done")
        assert again == {"status": "consumed", "duplicate": True}
        assert client.ask("dispatch.lease", **asked)["code"] == "already_consumed"
        mail = client.hear()
        assert (mail["kind"], mail["body"]["outcome"]) == ("dispatch.result", "done")
        assert client.mail == []
    assert count(tmp_path) == [1, 1, 1, 1]
