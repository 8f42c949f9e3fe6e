"""A broker in a process of its own, as users run it, for tests of the client against it.

Owns: the start, the end and the restart of the process. Knows nothing of what is said to it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from clients import connect

READY = "postroom ready "


class Process:
    """A started broker on a data directory."""

    def __init__(self, data: Path, *settings: str, flags: tuple[str, ...] = ()) -> None:
        self.data = data
        self._settings = settings
        self._flags = flags
        self._port = 0
        self._members = 0
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it; again, on the same port."""
        command = [sys.executable, "-m", "broker", "serve", "--data", str(self.data)]
        command += ["--port", str(self._port), "--set", "mail.backoff_ms=20"]
        for setting in self._settings:
            command += ["--set", setting]
        command += self._flags
        with (self.data.parent / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(READY):
            self.stop(signal.SIGKILL)
            raise AssertionError((self.data.parent / "broker.log").read_text())
        self.url = line.removeprefix(READY).strip()
        self._port = int(self.url.rpartition(":")[2].partition("/")[0])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, in order or not."""
        self._process.send_signal(how)
        self._process.wait(15)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def owner(self) -> dict[str, str]:
        """Who may do everything."""
        token = (self.data / "owner.token").read_text().strip()
        return {"member": "owner", "token": token}

    def join(self, who: dict[str, str], **given: Any) -> Any:
        """Connect as a member."""
        return connect(self.url, **{**who, **given})

    async def members(self, *names: str, **given: Any) -> list[dict[str, str]]:
        """Make members of fresh names that begin so."""
        self._members += 1
        made = []
        async with self.join(self.owner, observe=True) as owner:
            for name in names:
                added = await owner.member.add(f"{name}-{self._members}", **given)
                made.append({"member": added.member, "token": added.token})
        return made
