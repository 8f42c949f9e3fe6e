"""Starts a server of others as a child and speaks for it as the bench expects.

Owns: a free port, the wait until it listens, the ready line with the child's process number, so
that the child alone is measured, and its end together with this process.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

START_SECONDS = 15.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def binary(name: str, *directories: Path) -> str:
    """The path of a program, or the end of this process with a line that says what is missing."""
    for directory in [*directories, *map(Path, os.environ.get("PATH", "").split(os.pathsep))]:
        if (directory / name).is_file() and os.access(directory / name, os.X_OK):
            return str(directory / name)
    sys.exit(f"{name} is not installed")


def serve(
    command: list[str],
    url: str,
    port: int,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> None:
    """Run the server until told to stop; does not return before it has ended."""
    library = ctypes.CDLL(None)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        # The bench may have to kill this process; nothing may go on running after it.
        preexec_fn=lambda: library.prctl(_DIE_WITH_PARENT, signal.SIGKILL),  # noqa: PLW1509 - no thread runs here
    )
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(stop))
    _wait(child, command[0], port)
    sys.stdout.write(f"postroom ready {url} {child.pid}\n")
    sys.stdout.flush()
    child.wait()


def _wait(child: subprocess.Popen[bytes], program: str, port: int) -> None:
    """Until the port answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            sys.exit(f"{program} ended with {child.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    child.kill()
    sys.exit(f"{program} did not listen within {START_SECONDS:g} s")
