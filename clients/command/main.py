"""`postroom`: the start and the end of every command.

Owns: what is told before anything is imported, and how each failure becomes one line and an exit
code. Knows no command.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Awaitable, Sequence
from errno import errorcode
from itertools import takewhile
from typing import TYPE_CHECKING, Final, TextIO

from broker import __version__
from clients.command.failures import (
    INTERRUPTED,
    NOT_REACHED,
    PIPE_CLOSED,
    REFUSED,
    UNWRITTEN,
    WRONG_USAGE,
    NotReached,
    WrongUsage,
)
from clients.command.steering import STEERING, steer

if TYPE_CHECKING:
    from cyclopts import MissingArgumentError

TRACEBACK: Final = "POSTROOM_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_what_is_closed()
    try:
        code = _main(given)
        # Here, where a closed pipe is still quiet: at the interpreter's end it would not be.
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # of the output: all others have been told
        _drop(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return PIPE_CLOSED
        return _complain(f"the answer cannot be written: {error.strerror}", UNWRITTEN)


def _open_what_is_closed() -> None:
    """Where there is nowhere to print, what is printed goes nowhere, instead of failing."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 - never closed
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a letter is no reason to fail: `mail receive` would hold the mail.
        sys.stdout.reconfigure(errors="backslashreplace")


def _main(given: list[str]) -> int:
    if given[:1] and given[0] in STEERING:
        return steer(given)
    if given == ["--version"]:
        print(f"postroom {__version__}")
        return 0
    try:
        for one in given:
            one.encode()
    except UnicodeEncodeError:
        return _complain("the arguments are not UTF-8", WRONG_USAGE)
    from cyclopts import (
        CycloptsError,
        MissingArgumentError,
        UnknownCommandError,
        UnusedCliTokensError,
    )

    try:
        return _run(given)
    except MissingArgumentError as error:
        return _complain(_missing(error, given) + _more(given), WRONG_USAGE)
    except UnknownCommandError as error:
        error.verbose = False
        return _complain(str(error), WRONG_USAGE)
    except UnusedCliTokensError as error:
        more = " ".join(error.unused_tokens or ())
        return _complain(f"too many words: {more}; quote a text{_more(given)}", WRONG_USAGE)
    except CycloptsError as error:
        error.verbose = False
        return _complain(str(error) + _more(given), WRONG_USAGE)
    except WrongUsage as error:
        return _complain(str(error), WRONG_USAGE)
    except NotReached as error:
        return _complain(str(error), NOT_REACHED)
    except Exception as error:
        if TRACEBACK in os.environ or (isinstance(error, OSError) and error.filename is None):
            raise
        return _complain(f"{type(error).__name__}: {error} ({TRACEBACK}=1 says where)", REFUSED)


def _more(given: list[str]) -> str:
    """Where more is said of the command that was meant."""
    words = list(takewhile(lambda word: not word.startswith("-"), given))[:2]
    return f" (see {' '.join(['postroom', *words])} --help)"


def _missing(error: MissingArgumentError, given: list[str]) -> str:
    """Which argument is missing, by the name of its place unless its flag was typed."""
    name = error.argument.name if error.argument else ""
    if not name or any(word.partition("=")[0] == name for word in given):
        error.verbose = False
        return str(error)
    return f"{name.lstrip('-')} is missing"


def _run(given: list[str]) -> int:
    from clients.command.line import in_order, noun_of
    from clients.command.tables import console
    from clients.command.tree import tree

    given = in_order(given)
    # Help on nothing in particular, and what nobody knows, need every noun's name and no more.
    app = tree(noun_of(given) or "")
    command, bound, _ = app.parse_args(
        given, exit_on_error=False, print_error=False, help_on_error=False
    )
    if command.__name__ == "help_print":
        command(*bound.args, **{**bound.kwargs, "console": console()})
        return 0 if {"--help", "-h"}.intersection(given) else WRONG_USAGE
    result = command(*bound.args, **bound.kwargs)
    if not hasattr(result, "__await__"):
        return 0
    try:
        return _finished(result)
    finally:
        result.close()  # without a word, if it was interrupted before it began


def _finished(command: Awaitable[None]) -> int:
    """Run what talks with a broker, and say how that failed if it did."""
    import asyncio

    from clients.errors import ConnectionLost, PostroomError, Refused, Unreachable

    async def run() -> None:
        await command

    try:
        asyncio.run(run())
    except Refused as error:
        return _complain(f"{error.code}: {error.message}", REFUSED)
    except (Unreachable, ConnectionLost) as error:
        return _complain(f"the broker can't be reached: {_said(error)}", NOT_REACHED)
    except PostroomError as error:
        return _complain(str(error), REFUSED)
    return 0


def _said(error: Exception) -> str:
    """What an exception says, with the system's own words for what the system did not do."""
    from ssl import SSLError

    cause = error.__cause__
    if isinstance(cause, SSLError):  # its numbers are its own, its words are good
        return str(error)
    if isinstance(cause, OSError) and cause.strerror and (cause.errno or 0) in errorcode:
        return str(error).replace(cause.strerror, os.strerror(cause.errno or 0))
    return str(error)


def _complain(text: str, code: int) -> int:
    """One line, whatever is in it."""
    line = " ".join(text.split())
    try:
        print(f"postroom: {''.join(c if c.isprintable() else '?' for c in line)}", file=sys.stderr)
    except OSError:  # the code says it alone
        _drop(sys.stderr)
    return code


def _drop(stream: TextIO) -> None:
    """Let what is still buffered go nowhere: the interpreter would fail over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
