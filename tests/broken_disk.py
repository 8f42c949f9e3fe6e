"""A database whose next commit can be made to fail, as on a full disk."""

from __future__ import annotations

import sqlite3
from typing import Any


class BrokenDisk:
    """A connector for the rig. While `full`, no commit succeeds."""

    def __init__(self) -> None:
        self.full = False

    def __call__(self, uri: str) -> sqlite3.Connection:
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if disk.full and sql == "COMMIT":
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(sql, *values)

        return sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, factory=Connection
        )
