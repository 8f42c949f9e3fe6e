"""A mesh found by its name in the database of a stopped broker."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from rig import rig

from broker.areas.directory.named import mesh_id
from broker.store.stopped import Transaction


async def test_a_mesh_has_a_number_and_an_unknown_name_has_none(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner")
        await owner.ask("mesh.create", mesh="other")
    with closing(sqlite3.connect(tmp_path / "postroom.db")) as connection:
        database = Transaction(connection)
        numbers = [mesh_id(database, name) for name in ("default", "other", "nowhere")]
    assert numbers == [1, 2, None]
