"""A broker that kills itself at a named point: `crash_broker.py DIRECTORY POINT COUNT NAME=VALUE..`

Owns: the points. They are put around the product's own functions from outside, so that nothing of
it is in the product; after that the very same program runs.

    before-commit   the statements of a batch are written, its COMMIT is not
    after-commit    the COMMIT is done, no answer has left
    after-ack       the same, of a batch in which a delivery was acked
    after-send      the same, of a batch in which a message was accepted
    answered        the answers of a batch have left for the sockets
    never           it does not kill itself
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from broker.__main__ import main
from broker.core.executor import Executor
from broker.store.writer import Writer

POINTS: Final = ("before-commit", "after-commit", "after-ack", "after-send", "answered")
MARKS: Final = {"after-ack": "state = 'acked'", "after-send": "INSERT INTO messages"}


class Fate:
    """When this process ends, and how."""

    def __init__(self, point: str, count: int) -> None:
        self.point = point
        self.left = count
        self.marked = False

    def reach(self, point: str) -> None:
        """One time less to come here; the last time is the end."""
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def commit(self, commit: Callable[[Writer], None]) -> Callable[[Writer], None]:
        def dying(writer: Writer) -> None:
            writes = writer.writes
            if writes and self.point == "before-commit":
                writer.flush()
                self.reach("before-commit")
            commit(writer)
            if writes:
                self.reach("after-commit")
            if self.marked:
                self.marked = False
                self.reach(self.point)

        return dying

    def later(self, later: Callable[..., None]) -> Callable[..., None]:
        mark = MARKS.get(self.point)

        def marking(writer: Writer, sql: str, row: Any) -> None:
            if mark is not None and mark in sql:
                self.marked = True
            later(writer, sql, row)

        return marking

    def release(self, release: Callable[..., None]) -> Callable[..., None]:
        def dying(executor: Executor, *values: Any) -> None:
            release(executor, *values)
            self.reach("answered")

        return dying


def serve(directory: str, point: str, count: int, settings: list[str]) -> int:
    """Run the broker until its fate comes."""
    fate = Fate(point, count)
    for owner, name in ((Writer, "commit"), (Writer, "later"), (Executor, "_release")):
        setattr(owner, name, getattr(fate, name.strip("_"))(getattr(owner, name)))
    pairs = [part for pair in settings for part in ("--set", pair)]
    return main(["serve", "--port", "0", "--data", directory, *pairs])


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
