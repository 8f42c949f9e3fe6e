"""A list of requests gives the same answers, rows and effects however it is split into batches.

The same frames are played twice: request by request, each in a transaction of its own, and then a
whole chunk of them in one batch.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest
from batch_script import CAST, MEMBERS, Author, Chunk, Move, Replayer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_dump import agree, remembered, stored
from rig import rig

from broker.core import executor as executor_module

SETTINGS: Final[dict[str, Any]] = {
    "store__synchronous": "normal",
    "mail__lease_ms": 3_000,
    "mail__backoff_ms": 1_000,
    "mail__max_attempts": 3,
    "mail__max_claims": 4,
    "mail__max_depth": 6,
    "mail__dedupe_ms": 8_000,
    "mail__retention_ms": 20_000,
    "presence__lease_ms": 4_000,
    "dispatch__lease_ms": 3_000,
    "delegation__stuck_ms": 3_000,
}
OPENING: Final[Chunk] = [(number, [("hello", 1, 1, 1)]) for number in (0, 1, 3, 5, 6, 7)]

Said = list[tuple[list[dict[str, Any]], tuple[int, str] | None]]
Between = tuple[int | None, int]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A data directory with members, and their tokens."""
    directory = tmp_path_factory.mktemp("house")

    async def found() -> dict[str, str]:
        async with rig(directory) as r:
            for member in MEMBERS:
                await r.join(member, observe=True)
            return dict(r.tokens)

    return directory, asyncio.run(found())


def test_batches(house: tuple[Path, dict[str, str]]) -> None:
    pass
