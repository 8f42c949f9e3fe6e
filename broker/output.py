"""Standard output that cannot be written: a full disk, a reader that has gone.

Owns: what then becomes of what is printed. Knows nothing of what it says.
"""

from __future__ import annotations

import os
import sys


def drop_output() -> None:
    """Let what is still buffered go nowhere: the interpreter would fail over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def announce(line: str) -> str | None:
    """Write a line at once; or why that cannot be, and then nothing more is written."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        drop_output()
        return str(error.strerror)
    return None
