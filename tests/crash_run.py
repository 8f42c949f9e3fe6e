"""A crash run: a broker that dies again and again, and clients of which some die as well.

Owns: the processes, the seed, who dies when, and the quiet end in which everything must come out.
What was wrong is said by `crash_history`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from crash_broker import POINTS
from crash_history import History, read
from crash_parts import SINK, WORKERS, Broken, Line

HERE: Final = Path(__file__).parent
SETTINGS: Final = (
    "mail.lease_ms=1500",
    "mail.backoff_ms=20",
    "mail.backoff_max_ms=200",
    "mail.max_claims=100000",
    "mail.max_depth=300",
    "limits.send_rate=0",
    "presence.lease_ms=3000",
)
PRODUCERS: Final = ("p1", "p2")
CONSUMERS: Final = ("c1", "c2", "c3")
QUIET_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1


@dataclass
class Outcome:
    """What a run was like, and what was wrong with it."""

    seed: int
    complaints: list[str]
    figures: dict[str, int]

    def told(self) -> str:
        """For people."""
        lines = [f"seed {self.seed}", ", ".join(f"{v} {k}" for k, v in self.figures.items())]
        return "\n".join(lines + self.complaints[:50])


class Run:
    """One run in a directory of its own."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - a seed must repeat it
        self.log = (directory / "log").open("ab")
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.deaths: Counter[str] = Counter()
        self._names = itertools.count(1)
        points = [*POINTS, "never", "never"]
        self._points = itertools.cycle(self.chance.sample(points, len(points)))

    def run(self, seconds: float) -> Outcome:
        """Violence for so long, then peace, then the truth."""
        broker = self.start_broker("never", 0)
        try:
            self.admit()
            self.stop(broker, "at the start")
            for kind, names in (("producer", PRODUCERS), ("consumer", CONSUMERS)):
                for name in names:
                    self.start_part(kind, name)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self.round(min(end - time.monotonic(), self.chance.uniform(0.2, 2.0)))
            broker = self.start_broker("never", 0)
            for name in PRODUCERS:
                self.end_part(name)
            self.wait_until_all_is_done(broker)
            for name in CONSUMERS:
                self.end_part(name)
            outputs = self.outputs()
        finally:
            for process in (*self.parts.values(), broker):
                process.kill()
                process.wait()
            self.log.close()
        return self.judge(outputs)

    # -- processes -------------------------------------------------------------------------------

    def spawn(self, script: str, *arguments: str, out: int | IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            stdout=out,
            stderr=self.log,
            env={**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def start_broker(self, point: str, count: int) -> subprocess.Popen[bytes]:
        """A broker that is ready, or has met its fate before it was."""
        broker = self.spawn(
            "crash_broker.py",
            str(self.directory),
            point,
            str(count),
            *SETTINGS,
            out=subprocess.PIPE,
        )
        assert broker.stdout is not None
        with broker.stdout as out:
            out.readline()
        return broker

    def stop(self, broker: subprocess.Popen[bytes], why: str) -> None:
        broker.kill()
        broker.wait()
        self.deaths[why] += 1

    def start_part(self, kind: str, name: str) -> None:
        # The seed differs from life to life, so that a part does not make the same choices again.
        seed = str(self.seed * 10_000 + next(self._names))
        self.parts[name] = self.spawn(
            "crash_parts.py", kind, name, str(self.directory), seed, out=self.log
        )

    def end_part(self, name: str) -> None:
        """Ask a client to come to its end, and see that it did so by itself."""
        part = self.parts[name]
        part.terminate()
        try:
            code: int | str = part.wait(QUIET_SECONDS)
        except subprocess.TimeoutExpired:
            part.send_signal(signal.SIGUSR1)  # the log says where its threads are
            time.sleep(LOOK_SECONDS)
            code = "nothing"
        del self.parts[name]
        assert code == 0, f"{name} ended with {code}:\n{(self.directory / 'log').read_text()}"

    def round(self, seconds: float) -> None:
        """One broker's life: it dies at its named point, or is killed when its time is up."""
        point = next(self._points)
        broker = self.start_broker(point, self.chance.randrange(1, 60))
        victim = self.chance.choice(CONSUMERS) if self.chance.random() < 0.5 else None
        before = self.chance.uniform(0, seconds)
        try:
            broker.wait(before)
        except subprocess.TimeoutExpired:
            if victim is not None:
                self.kill_consumer(victim)
                victim = None
        try:
            broker.wait(max(seconds - before, 0))
            self.deaths[point] += 1
            assert broker.returncode == -signal.SIGKILL, (self.directory / "log").read_text()
        except subprocess.TimeoutExpired:
            self.stop(broker, "at random")
        if victim is not None:
            self.kill_consumer(victim)

    def kill_consumer(self, name: str) -> None:
        part = self.parts[name]
        assert part.poll() is None, (self.directory / "log").read_text()
        part.kill()
        part.wait()
        self.deaths["consumers"] += 1
        self.start_part("consumer", name)

    # -- beginning and end -----------------------------------------------------------------------

    def admit(self) -> None:
        """Make the members, and write down their tokens."""
        with Line(self.directory, "owner", observe=True) as owner:
            for member in ("producer", WORKERS, SINK):
                added = owner.ask("member.add", member=member)
                (self.directory / f"{member}.token").write_text(added["token"])

    def wait_until_all_is_done(self, broker: subprocess.Popen[bytes]) -> None:
        """Nobody sends any more and nobody dies: what was accepted must come to its end."""
        end = time.monotonic() + QUIET_SECONDS
        with Line(self.directory, "owner", observe=True) as owner:
            while _unfinished(owner):
                assert time.monotonic() < end, "mail is left that nobody was handed"
                try:
                    broker.wait(LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError(f"the broker died:\n{(self.directory / 'log').read_text()}")

    def outputs(self) -> Counter[str]:
        """What came out, each as often as it did."""
        found: Counter[str] = Counter()
        with Line(self.directory, SINK, observe=True) as eye:
            while mails := eye.ask("mail.claim", max=100, lease_ms=60_000)["deliveries"]:
                found.update(mail["body"] for mail in mails)
                for mail in mails:
                    eye.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        return found

    def judge(self, outputs: Counter[str]) -> Outcome:
        history = History(read(self.directory.glob("*.lines")))
        complaints = list(history.check(outputs))
        complaints += [
            line
            for line in (self.directory / "log").read_text().splitlines()
            if "constraint" in line or "fault of the broker" in line
        ]
        with closing(sqlite3.connect(self.directory / "postroom.db")) as connection:
            ((sound,),) = connection.execute("PRAGMA integrity_check")
            if sound != "ok":
                complaints.append(f"the database is broken: {sound}")
        counts = {what.replace(" ", "_"): len(lines) for what, lines in history.by.items()}
        deaths = {f"deaths_{why.replace(' ', '_')}": n for why, n in sorted(self.deaths.items())}
        return Outcome(self.seed, complaints, counts | deaths)


def _unfinished(owner: Line) -> bool:
    """Whether anything waits or is held. A page may be empty and still not be the last."""
    for state in ("queued", "claimed"):
        page = owner.ask("mail.list", mailbox=WORKERS, state=state)
        while not page["deliveries"] and page["next"] is not None:
            page = owner.ask("mail.list", mailbox=WORKERS, state=state, after=page["next"])
        if page["deliveries"]:
            return True
    return False


def crash(seconds: float, seed: int, directory: Path) -> Outcome:
    """One run, or the reason why it could not be one."""
    try:
        return Run(directory, seed).run(seconds)
    except Broken as error:
        raise AssertionError(
            f"seed {seed}: {error!r}\n{(directory / 'log').read_text()[-4_000:]}"
        ) from error


def main() -> int:
    """A long run on demand."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    with tempfile.TemporaryDirectory(prefix="postroom-crash-") as directory:
        sys.stdout.write(f"seed {seed}\n")
        sys.stdout.flush()
        outcome = crash(given.seconds, seed, Path(directory))
    sys.stdout.write(outcome.told() + "\n")
    return 1 if outcome.complaints else 0
