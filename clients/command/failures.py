"""How a command ends when it does not do what was asked: one line, one exit code.

Owns: the exit codes and their exceptions. Knows nothing of arguments and connections.
"""

from __future__ import annotations

from typing import Final

REFUSED: Final = 1
WRONG_USAGE: Final = 2
NOT_REACHED: Final = 3
UNWRITTEN: Final = 4
INTERRUPTED: Final = 130  # what a shell says of a command that SIGINT has ended
PIPE_CLOSED: Final = 141  # and of one that SIGPIPE has


class WrongUsage(Exception):  # noqa: N818 - the caller's mistake, told to the caller
    """The command line cannot be understood, or says too little."""


class NotReached(Exception):  # noqa: N818 - an outcome, with an exit code of its own
    """No broker answers."""
