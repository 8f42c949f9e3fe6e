"""A broker whose disk breaks: `fault_broker.py DIRECTORY`.

The commit of the first batch that stores a message fails with an I/O error, as from a disk that is
gone. Owns: that fault, put around the connection from outside; after that the very same program
runs.
"""

from __future__ import annotations

import sqlite3
import sys
from functools import partial

from failing_storage import FailingStorage, broken

from broker import app
from broker.__main__ import main
from broker.data import open_data


class BreakingDisk(FailingStorage):
    """A connector. Every commit fails from the first on that has a message in it."""

    def _before(self, connection: sqlite3.Connection, sql: str) -> None:
        if sql.startswith("INSERT INTO messages"):
            self.fail(broken, only="COMMIT")
        super()._before(connection, sql)


def serve(directory: str) -> int:
    """Run the broker until its disk breaks."""
    vars(app)["open_data"] = partial(open_data, connector=BreakingDisk())
    return main(["serve", "--port", "0", "--data", directory])


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1]))
