"""The ceiling: what the machine gives without rules. Three parts, and the relay that joins them.

Owns: raw WebSocket echo, raw SQLite group commit with the same tables, and the bare relay under
the traffic of `pairs` and `burst`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from bench import burst, command, pairs
from bench.commits import Committed
from bench.run import Watch, rounds
from bench.server import Place, spawn
from bench.show import show
from bench.traffic import RunFailed

BATCHES = (1, 10, 64, 256)
PATIENCE_SECONDS = 30.0


def main(words: list[str]) -> int:
    """`python -m bench ceiling`"""
    parser = command.options("ceiling", "sockets alone, SQLite alone, and a bare relay of both")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a run")
    arguments = parser.parse_args(words)
    where = command.place(arguments)
    targets = ["echo", "relay", "relay-clients"]
    empty = command.report("ceiling", where, targets)
    body, seconds = arguments.body, arguments.seconds
    shapes = [pairs.case(100, window, seconds, body) for window in (1, 10)]
    steps = (len(shapes) * len(targets) + 2) * arguments.runs + len(BATCHES)
    with command.progress(steps) as watch:
        series = rounds(shapes, targets, arguments.runs, where, watch)
        series += rounds(
            [burst.case(100, 1_000, 10, body)], targets[1:], arguments.runs, where, watch
        )
        commits = [
            commit(where, seconds, size, watch) for size in BATCHES for _ in range(arguments.runs)
        ]
    show(command.filled(empty, series=series, commits=commits), as_json=arguments.json)
    return 0


def commit(where: Place, seconds: float, size: int, watch: Watch) -> Committed:
    """One loop of commits in a process of its own, on the server's core."""
    watch(f"SQLite alone, {size} a commit", 0)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=where.data) as directory:
        words = [sys.executable, "-m", "bench.commits", directory, str(seconds), str(size)]
        process = spawn(words, where.server_core, Path(directory), where)
        try:
            text, _ = process.communicate(timeout=seconds + PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RunFailed("the loop of commits did not end") from None
        if process.returncode:
            raise RunFailed((Path(directory) / "stderr.log").read_text().strip())
    return msgspec.json.decode(text, type=Committed)
