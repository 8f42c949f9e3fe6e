"""Standard input, as a command reads it.

Owns: that the first Ctrl-C ends the reading. While a command talks with a broker, SIGINT only asks
the event loop to cancel it, and the loop stands still for as long as something is read.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import BinaryIO

from clients.command.failures import WrongUsage


def read_all() -> bytes:
    """All that there is, up to its end."""
    return _read(lambda stream: stream.read())


def read_line() -> bytes:
    """The first line."""
    return _read(lambda stream: stream.readline())


def _read(read: Callable[[BinaryIO], bytes]) -> bytes:
    if sys.stdin is None:
        raise WrongUsage("standard input is closed")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return read(sys.stdin.buffer)
    finally:
        signal.signal(signal.SIGINT, before)
