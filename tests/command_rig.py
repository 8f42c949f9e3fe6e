"""A broker process and command lines against it.

`running` starts the broker as everybody does, on a free port and a data directory of its own.
`Here` is a place to give commands from: with the owner's rights, as somebody else, or as nobody.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from clients.command.main import main

POSTROOM = (sys.executable, "-m", "clients.command.main")
CHECKOUT = Path(__file__).parents[1]
READY = "postroom ready "


@dataclass(frozen=True)
class Done:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass
class Here:
    """Where commands are given: an environment of its own, with nothing of the tester's."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "share" / "postroom"

    def environment(self) -> dict[str, str]:
        """What a process of this place sees."""
        return {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONWARNINGS": "error",
            "XDG_DATA_HOME": str(self.home / "share"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            **self.variables,
        }

    def run(self, *words: str, stdin: str = "") -> Done:
        """Give a command in this process, which is what it takes most of its time to start."""
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        given = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        with (
            patch.dict(os.environ, self.environment(), clear=True),
            patch.object(sys, "stdin", given),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                code = main(words)
            except SystemExit as end:  # the arguments of `serve` and its like are read by argparse
                code = int(end.code or 0)
            out.flush()
        written = out.buffer
        assert isinstance(written, io.BytesIO)
        return Done(code, written.getvalue().decode(), err.getvalue())

    def process(self, *words: str, stdin: str = "") -> Done:
        """Give a command in a process of its own, as everybody else does."""
        done = subprocess.run(
            [*POSTROOM, *words],
            cwd=self.home,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Give a command and don't wait for its end."""
        return subprocess.Popen(
            [*POSTROOM, *words],
            cwd=self.home,
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def as_member(self, member: str, token: str) -> Here:
        """The same place, as another member."""
        return Here(self.home, {"POSTROOM_MEMBER": member, "POSTROOM_TOKEN": token})


@contextmanager
def running(home: Path) -> Iterator[Here]:
    """A broker, from its ready line to its end by SIGTERM."""
    here = Here(home)
    process = here.start("serve", "--port", "0")
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith(READY), process.stderr and process.stderr.read()
        yield here
    finally:
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
