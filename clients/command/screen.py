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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from clients.command.durations import written
from clients.command.peers import HEADS, row
from clients.command.tables import console, table
from clients.command.texts import cell

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clients.command.top import Snapshot

QUITS: Final = frozenset({b"q", b"Q", b"\x03", b"\x04"})
FEW: Final = 8
LEFT_OUT: Final = "..."


def lines(snapshot: Snapshot, height: int | None = None) -> Group:
    """The whole picture; what does not fit the height is cut from the longest list."""
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
        *(Text(line, overflow="ellipsis", no_wrap=True) for line in head),
        *part(
            f"mailboxes ({stats.mailboxes.open} open)",
            ("mailbox", "depth", "oldest"),
            deepest,
            room,
        ),
        *part("in flight", ("status", "callee", "delegation", "silent", "task"), flight, room),
        *part("peers", HEADS, [row(peer) for peer in snapshot.peers], room),
    )


def part(
    name: str, heads: Sequence[str], rows: Sequence[Sequence[str]], room: int
) -> list[RenderableType]:
    """One list under its name."""
    if not rows:
        return [Text(), Text(f"{name}: none", style="bold")]
    made = table(heads, rows[:room])
    for column in made.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    more = [Text(f"{LEFT_OUT} and {len(rows) - room} more")] if len(rows) > room else []
    return [Text(), Text(name, style="bold"), made, *more]


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

    def draw(self, snapshot: Snapshot) -> None:
        """Draw a picture over the one before."""
        picture = lines(snapshot, self._console.size.height)
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


class Pressed:
    """Which keys have been pressed."""

    def __init__(self) -> None:
        self.quit = False
        self._event = asyncio.Event()

    def read(self) -> None:
        """Take what has been typed."""
        typed = os.read(sys.stdin.fileno(), 64)
        self.quit = self.quit or not typed or any(bytes([key]) in QUITS for key in typed)
        self._event.set()

    async def wait(self) -> None:
        """Until a key is pressed."""
        self._event.clear()
        await self._event.wait()


@contextmanager
def keys() -> Iterator[Pressed]:
    """Read keys one by one, unseen, if there is a keyboard."""
    pressed = Pressed()
    if not sys.stdin.isatty():
        yield pressed
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    loop = asyncio.get_running_loop()
    tty.setcbreak(number)
    loop.add_reader(number, pressed.read)
    try:
        yield pressed
    finally:
        loop.remove_reader(number)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(number, termios.TCSADRAIN, before)
