"""`python -m broker serve|migrate|doctor`: parses arguments, nothing else."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from broker import __version__
from broker.config import ConfigError, load
from broker.output import drop_output

REFUSED = 1
WRONG_USAGE = 2
UNWRITTEN = 4
INTERRUPTED = 130
PIPE_CLOSED = 141


def data_directory() -> Path:
    """Where the database lies when nobody says otherwise."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "postroom"


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, as the other commands do."""

    def error(self, message: str) -> NoReturn:
        """End with the code of wrong usage."""
        self.exit(WRONG_USAGE, f"postroom: {message} (see {self.prog} --help)\n")


def named(text: str) -> str:
    """A text that an unset variable of a script would have left empty."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def path(text: str) -> Path:
    """A path; an empty one would be the current directory."""
    return Path(named(text))


def port(text: str) -> int:
    """A port; its name is what a text that is no number is told not to be."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not between 0 and 65535")
    return number


def parser() -> argparse.ArgumentParser:
    """The arguments of the three commands that work on a data directory."""
    top = Parser(prog="postroom", description="The Postroom message broker.")
    top.add_argument("--version", action="version", version=f"postroom {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve", help="start the broker", description="Apply migrations, then start the broker."
    )
    serve.add_argument(
        "--host", type=named, default="127.0.0.1", help="address to listen on (%(default)s)"
    )
    serve.add_argument(
        "--port", type=port, default=7450, help="port, 0 for a free one (%(default)s)"
    )
    serve.add_argument("--config", type=path, metavar="FILE", help="settings in TOML")
    serve.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting; wins over --config",
    )
    serve.add_argument("--tls-cert", type=path, metavar="FILE", help="certificate chain, PEM")
    serve.add_argument("--tls-key", type=path, metavar="FILE", help="its private key, PEM")
    serve.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a web origin whose pages may connect",
    )
    serve.add_argument(
        "--new-owner-token",
        action="store_true",
        help="write another token of the member `owner` to owner.token",
    )
    migrate = commands.add_parser(
        "migrate", help="look at or change the schema of a stopped broker's database"
    )
    migrate.add_argument("action", choices=("status", "up", "down"))
    migrate.add_argument(
        "--to", metavar="FILE", help="the last file that is applied afterwards (down: one step)"
    )
    doctor = commands.add_parser("doctor", help="examine a stopped broker's data")
    doctor.add_argument("--repair", action="store_true", help="mend what can be mended")
    doctor.add_argument(
        "--import-dispatches",
        type=path,
        metavar="DIR",
        help="look for dispatch files that are not in the database; --repair imports them",
    )
    for command in (migrate, doctor):
        command.add_argument("--json", action="store_true", help="one JSON document")
    for command in (serve, migrate, doctor):
        command.add_argument(
            "--data", type=path, default=None, metavar="DIR", help=f"({data_directory()})"
        )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    try:
        code = _main(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # of the output: all others have been told
        drop_output()
        if isinstance(error, BrokenPipeError):
            return PIPE_CLOSED
        print(f"postroom: the answer cannot be written: {error.strerror}", file=sys.stderr)
        return UNWRITTEN


def _main(arguments: list[str] | None) -> int:
    try:
        given = parser().parse_args(arguments)
    except SystemExit as end:  # it has been told what is wrong, or the help
        return int(end.code or 0)
    directory = given.data or data_directory()
    if given.command == "serve":
        return _serve(directory, given)
    return _maintain(directory, given)


def _serve(directory: Path, given: argparse.Namespace) -> int:
    if (given.tls_cert is None) != (given.tls_key is None):
        print("postroom: --tls-cert and --tls-key go together", file=sys.stderr)
        return WRONG_USAGE
    try:
        settings = load(given.config, given.set)
    except ConfigError as error:
        print(f"postroom: {error}", file=sys.stderr)
        return WRONG_USAGE
    from broker.app import Listen, serve

    listen = Listen(
        given.host,
        given.port,
        given.tls_cert,
        given.tls_key,
        tuple(given.allow_origin),
        given.new_owner_token,
    )
    return serve(directory, settings, listen)


def _maintain(directory: Path, given: argparse.Namespace) -> int:
    import msgspec

    from broker import maintenance

    answer: maintenance.Migrated | maintenance.Report
    try:
        if given.command == "migrate":
            if given.to is not None and given.action == "status":
                print("postroom: --to goes with up or down", file=sys.stderr)
                return WRONG_USAGE
            answer = maintenance.migrate(directory, given.action, given.to)
            well = True
        else:
            folder = given.import_dispatches
            answer = maintenance.diagnose(directory, repair=given.repair, import_dispatches=folder)
            well = answer.ok
    except maintenance.REFUSALS as error:
        print(f"postroom: {error}", file=sys.stderr)
        return REFUSED
    print(msgspec.json.encode(answer).decode() if given.json else answer.told())
    return 0 if well else REFUSED


if __name__ == "__main__":
    sys.exit(main())
