"""The clients of a crash run, a process each: they send, work and die, and write down all of it.

`crash_parts.py producer|consumer NAME DIRECTORY SEED`. They know the protocol and nothing of the
broker. A producer repeats what it has no answer for, under the same key. A consumer acks with an
output; what it has no answer for it acks again when it is handed over again.
"""

from __future__ import annotations

import faulthandler
import random
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec
from crash_history import Pen
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.05
WORKERS: Final = "worker"
SINK: Final = "sink"

Broken = (OSError, WebSocketException, TimeoutError)


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The broker said no."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]


class Line:
    """A connection on which one request is asked at a time; pushes are kept for later."""

    def __init__(self, directory: Path, member: str, **hello: Any) -> None:
        url = (directory / "broker.url").read_text().strip()
        token = (directory / f"{member}.token").read_text().strip()
        self._opening = connect(
            url, compression=None, open_timeout=SECONDS, close_timeout=0.1, max_size=None
        )
        self._hello = {"member": member, "token": token, **hello}
        self.socket: ClientConnection
        self.welcome: dict[str, Any]
        self.pushed: deque[dict[str, Any]] = deque()
        self._id = 0

    def __enter__(self) -> Line:
        self.socket = self._opening.__enter__()
        self.welcome = self.ask("hello", **self._hello)
        return self

    def __exit__(self, *error: Any) -> None:
        self._opening.__exit__(*error)

    def ask(self, op: str, **fields: Any) -> Any:
        """Send a request and wait for its answer."""
        self._id += 1
        self.socket.send(msgspec.json.encode({"op": op, "id": self._id, **fields}).decode())
        while True:
            frame = msgspec.json.decode(self.socket.recv(SECONDS))
            if frame.get("re") == self._id:
                if "error" in frame:
                    raise Refused(frame["error"])
                return frame["ok"]
            if frame.get("ev") == "mail.deliver":
                self.pushed.append(frame)

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next push, if one comes in this time."""
        if not self.pushed:
            try:
                frame = msgspec.json.decode(self.socket.recv(seconds))
            except TimeoutError:
                return None
            if frame.get("ev") != "mail.deliver":
                return None
            self.pushed.append(frame)
        return self.pushed.popleft()

    def break_off(self) -> None:
        """Be gone without a word."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)
        self.socket.socket.close()


class Part:
    """A client that comes back whenever its connection is gone, until it is told to stop."""

    def __init__(self, name: str, directory: Path, seed: int) -> None:
        self.name = name
        self.directory = directory
        self.chance = random.Random(f"{name} {seed}")  # noqa: S311 - a seed must repeat it
        self.pen = Pen(directory / f"{name}.lines", name)
        self.stopped = False
        signal.signal(signal.SIGTERM, self._stop)
        faulthandler.register(signal.SIGUSR1)

    def _stop(self, *_: Any) -> None:
        self.stopped = True

    def live(self) -> None:
        while not self.stopped:
            try:
                self.connected()
            except Broken:
                signal.sigtimedwait([], PAUSE_SECONDS)
            except Refused as refusal:
                if refusal.code not in ("draining", "unavailable", "overloaded"):
                    raise

    def connected(self) -> None:
        raise NotImplementedError


class Producer(Part):
    """Sends one after the other, each with its key, and repeats what it has no answer for."""

    def __init__(self, name: str, directory: Path, seed: int) -> None:
        super().__init__(name, directory, seed)
        self.number = 0
        self.unsure: dict[str, Any] | None = None

    def connected(self) -> None:
        hello = {"role": "service", "capacity": 0, "session": self.name}
        with Line(self.directory, "producer", **hello) as line:
            self._send_on(line)

    def _send_on(self, line: Line) -> None:
        while not self.stopped:
            first = self.unsure is None
            mail = self.unsure or self._next()
            self.unsure = mail
            try:
                sent = line.ask("mail.send", **mail)
            except Refused as refusal:
                if refusal.code != "mailbox_full":
                    raise
                self.pen.note("full", key=mail["key"])
                self.number -= 1
                self.unsure = None
                signal.sigtimedwait([], PAUSE_SECONDS)
                continue
            self.pen.note("sent", key=mail["key"], message=sent["message"], first=first)
            self.unsure = None

    def _next(self) -> dict[str, Any]:
        self.number += 1
        key = f"{self.name}-{self.number}"
        self.pen.note("sending", key=key)
        return {
            "to": WORKERS,
            "body": {"key": key, "fill": "x" * self.chance.choice([0, 100, 20_000])},
            "key": key,
            "priority": self.chance.choice([10, 50, 50, 50, 100]),
            "max_attempts": 100,
        }


class Consumer(Part):
    """Works under a label of its own: acks most of what comes, and loses its way now and then."""

    def __init__(self, name: str, directory: Path, seed: int) -> None:
        super().__init__(name, directory, seed)
        self.resume: str | None = None
        self.presence = ""

    def connected(self) -> None:
        self.pen.note("coming")
        hello = {
            "role": "service",
            "session": self.name,
            "capacity": self.chance.choice([1, 5, 30]),
            "resume": self.resume,
        }
        with Line(self.directory, WORKERS, **hello) as line:
            welcome = line.welcome
            self.presence, self.resume = welcome["presence"], welcome["resume"]
            self.pen.note("here", presence=self.presence, resumed=welcome["resumed"])
            self._work_on(line)

    def _work_on(self, line: Line) -> None:
        for _ in range(self.chance.randrange(20, 400)):
            if self.stopped:
                break
            mail = line.hear(PAUSE_SECONDS)
            if mail is not None:
                self._got(mail)
                self._work(line, mail)
        if self.chance.random() < 0.5:
            line.break_off()
            return
        self.pen.note("coming")  # from here on what it held may be somebody else's
        line.ask("bye")
        self.resume = None

    def _got(self, mail: dict[str, Any]) -> None:
        self.pen.note(
            "got",
            presence=self.presence,
            key=mail["body"]["key"],
            began_at=mail["claim_expires_at"] - mail["lease_ms"],
            ends_at=mail["claim_expires_at"],
            **{
                name: mail[name]
                for name in (
                    "delivery", "claim", "message", "mailbox", "priority", "claims", "attempt",
                )
            },
        )  # fmt: skip

    def _work(self, line: Line, mail: dict[str, Any]) -> None:
        names = {"delivery": mail["delivery"], "claim": mail["claim"]}
        fate = 0.5 if self.stopped else self.chance.random()
        try:
            if fate < 0.03:
                return  # forgotten: its lease ends
            if fate < 0.06:
                self.pen.note("giving back", **names)
                line.ask("mail.nack", **names, blame=fate < 0.05, delay_ms=0)
                return
            if fate < 0.10:
                extended = line.ask("mail.extend", **names)
                self.pen.note("extended", **names, ends_at=extended["claim_expires_at"])
            self.pen.note("acking", **names, key=mail["body"]["key"])
            output = {"to": SINK, "body": mail["body"]["key"], "reply_to": mail["message"]}
            acked = line.ask("mail.ack", **names, outputs=[output])
        except Refused as refusal:
            if refusal.code != "stale_claim":
                raise
            self.pen.note("stale", **names)
            return
        key = mail["body"]["key"]
        self.pen.note("acked", **names, key=key, duplicate=acked["duplicate"])


def main(kind: str, name: str, directory: str, seed: str) -> None:
    """Live until SIGTERM, or until somebody is less polite."""
    parts: dict[str, type[Part]] = {"producer": Producer, "consumer": Consumer}
    parts[kind](name, Path(directory), int(seed)).live()


if __name__ == "__main__":
    main(*sys.argv[1:5])
