"""A relay that confirms everything and forgets to deliver some of it: the bench must notice.

Owns: the loss. Run as a server of the bench: `python -m tests.bench_lossy_relay DIR`
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop

from bench import tables
from bench.line import serve
from bench.relay import Member, Relay

LOST = 7
"""Every seventh delivery."""


class LossyMember(Member):
    """Drops deliveries on their way out."""

    def flush(self) -> None:
        """Forget some."""
        self.deliveries = [one for one in self.deliveries if one.seq // 2 % LOST]
        super().flush()


async def _main(data: Path) -> None:
    relay = Relay(tables.create(data))
    await serve(lambda: LossyMember(relay))


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1])))
