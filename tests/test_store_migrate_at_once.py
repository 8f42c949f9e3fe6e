"""Migrations of one database by several processes at once: each file is applied by one of them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

NAMES = [f"{number:04}_table.sql" for number in range(1, 41)]

MIGRATE = """
import sqlite3, sys
from pathlib import Path
from broker.store.migrate import Migrations
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
migrations = Migrations.discover(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(*migrations.up(connection, 7))
"""


def migrating(database: Path, files: Path) -> subprocess.Popen[str]:
    """A process that is about to migrate, and does it at the next line that it reads."""
    process = subprocess.Popen(
        [sys.executable, "-c", MIGRATE, str(database), str(files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_migrate_at_once_share_the_work(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_text(f"CREATE TABLE t{name[:4]} (x);\n")
        (tmp_path / name.replace(".sql", ".down.sql")).write_text(f"DROP TABLE t{name[:4]};\n")
    database = tmp_path / "postroom.db"
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    processes = [migrating(database, tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    done: list[str] = []
    for process in processes:
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
        done += output.split()
    assert sorted(done) == NAMES
    rows = connection.execute("SELECT filename FROM __migrations ORDER BY filename").fetchall()
    assert [name for (name,) in rows] == NAMES
    connection.close()
