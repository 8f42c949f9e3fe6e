"""What `postroom top` looks like, and the keys that it knows.

Owns: the layout in 80 columns and the terminal while it is drawn on. Knows nothing of connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from clients.command.durations import written
from clients.command.peers import HEADS, row
from clients.command.tables import console, plain
from clients.command.texts import cell

if TYPE_CHECKING:
    from clients.command.top import Snapshot

QUITS: Final = frozenset(b"qQ\x03\x04")
FEW: Final = 8
WIDEST: Final = 20  # of a column that is no free text, in 80


def lines(snapshot: Snapshot, height: int | None = None, *, stale: bool = False) -> Group:
    """The whole picture; of each list as much as fits the height."""
    stats = snapshot.broker
    head = [
        f"postroom {stats.version}, up {written(stats.uptime_ms)}, "
        f"{stats.storage.bytes / 2**20:.1f} MiB stored",
        f"peers        {counts(stats.presences)}",
        f"deliveries   {counts(stats.deliveries)}",
        f"dispatches   {counts(stats.dispatches)}",
        f"delegations  {counts(snapshot.delegations.by_status)}",
    ]
    oldest = snapshot.delegations.oldest_in_flight_ms
    if oldest is not None:
        head[-1] += f", oldest {written(oldest)}"
    if (rates := snapshot.rates) is not None:
        head.append(
            f"each second  accepted {rates.accepted:.0f}, acked {rates.acked:.0f}, "
            f"ended {rates.ended:.0f}"
        )
    if stale:
        head[0] = "the broker does not answer; what follows is what it said last"
    room = FEW if height is None else max((height - len(head) - 10) // 3, 1)
    deepest = [
        [cell("", box.mailbox), str(box.depth), cell("_ms", box.oldest_ms)]
        for box in stats.mailboxes.deepest
    ]
    flight = [
        [
            one.status,
            cell("", one.callee),
            cell("", one.delegation),
            written(max(snapshot.at - (one.last_heartbeat_at or one.created_at), 0)),
            cell("", one.task_preview)[:40],
        ]
        for one in snapshot.in_flight
    ]
    return Group(
        *map(line, head),
        *part(
            f"mailboxes ({stats.mailboxes.open} open)",
            ("mailbox", "depth", "oldest"),
            deepest,
            room,
        ),
        *part("in flight", ("status", "callee", "delegation", "silent", "task"), flight, room),
        *part("peers", HEADS, [row(peer) for peer in snapshot.peers], room),
    )


def part(name: str, heads: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[Text]:
    """One list under its name."""
    if not rows:
        return [Text(), line(f"{name}: none", "bold")]
    cut = [[*(text[:WIDEST] for text in row[:-1]), row[-1]] for row in rows[:room]]
    head, *texts = plain(heads, cut)
    more = [f"... and {len(rows) - room} more"] if len(rows) > room else []
    return [Text(), line(name, "bold"), line(head, "bold"), *map(line, [*texts, *more])]


def line(text: str, style: str = "") -> Text:
    """One line, cut where the terminal ends."""
    return Text(text, style, overflow="ellipsis", no_wrap=True)


def counts(given: Mapping[Any, int]) -> str:
    """What there is of each kind."""
    return ", ".join(f"{name} {count}" for name, count in given.items() if count) or "none"


def print_once(snapshot: Snapshot) -> None:
    """Print the picture where the cursor stands."""
    console().print(lines(snapshot))
    sys.stdout.flush()


class Screen:
    """The other screen of the terminal: what was there before comes back at the end."""

    def __init__(self) -> None:
        self._console = console()
        # Drawn when there is something new and over what is there: nothing is cleared, so nothing
        # flickers.
        self._live = Live(console=self._console, screen=True, auto_refresh=False, transient=True)

    def draw(self, snapshot: Snapshot, *, stale: bool) -> None:
        """Draw a picture over the one before."""
        picture = lines(snapshot, self._console.size.height, stale=stale)
        self._live.update(picture, refresh=True)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()


@contextmanager
def keys(leave: Callable[[], object]) -> Iterator[None]:
    """Read keys one by one, unseen, if there is a keyboard; leave when one of them says so."""
    if not sys.stdin.isatty():
        yield
        return
    number = sys.stdin.fileno()

    def read() -> None:
        typed = os.read(number, 64)
        if not typed or not QUITS.isdisjoint(typed):
            leave()

    before = termios.tcgetattr(number)
    loop = asyncio.get_running_loop()
    tty.setcbreak(number)
    loop.add_reader(number, read)
    try:
        yield
    finally:
        loop.remove_reader(number)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(number, termios.TCSADRAIN, before)
