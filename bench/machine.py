"""What the figures were taken on, and what a process costs there.

Owns: reading /proc, the disk's sync time, the commit. Linux only, as the pinning to cores is.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import time
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parent.parent
SYNC_PROBES = 50
_TICKS = os.sysconf("SC_CLK_TCK")


class Machine(Struct, frozen=True, kw_only=True):
    """Where a result comes from."""

    processor: str
    cores: int
    kernel: str
    python: str
    sqlite: str
    file_system: str
    sync_ms: float
    """Median of one page written and synced in the directory that the databases are put in."""
    load: float
    commit: str


def describe(data: Path) -> Machine:
    """This machine, with the disk that `data` lies on."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        file_system=_file_system(data),
        sync_ms=_sync_ms(data),
        load=os.getloadavg()[0],
        commit=_commit(),
    )


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, []))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and its descendants so far."""
    total = 0
    for member in family(pid):
        fields = _stat(member)
        if fields:
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def cpu_seconds_exact(pid: int) -> float:
    """The same, of one process, by the scheduler's own account: fit for short stretches."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except (OSError, IndexError):
            continue
    return total / 1e9


def waited_seconds(pid: int) -> float:
    """How long the main thread was ready to run but had no core: somebody was in the way."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def resident_bytes(pid: int | None, *, peak: bool = False) -> int:
    """Resident memory of a process, now or at its highest; None: ourselves.

    Of a family of processes what they share is counted once, and there is no highest: it is now.
    """
    members = [os.getpid()] if pid is None else family(pid)
    if len(members) > 1:
        return sum(_kilobytes(f"/proc/{one}/smaps_rollup", "Pss:") for one in members)
    return _kilobytes(f"/proc/{members[0]}/status", "VmHWM:" if peak else "VmRSS:")


def _kilobytes(path: str, name: str) -> int:
    """The bytes that a line of a file in /proc tells; 0 when the process is gone."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def time_slice_ms() -> float:
    """How long one of several threads runs before the next, at a real-time priority."""
    return float(Path("/proc/sys/kernel/sched_rr_timeslice_ms").read_text())


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(data: Path) -> str:
    """The type of the mount that the directory lies on: on tmpfs a sync costs nothing."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, name, *_ = line.split()
        if data.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def _sync_ms(data: Path) -> float:
    probe = data / "sync-probe"
    times = []
    with probe.open("wb", buffering=0) as file:
        for _ in range(SYNC_PROBES):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    probe.unlink()
    return statistics.median(times) * 1000


PROGRAM = (":/broker", ":/clients", ":/migrations", ":/bench", ":/pyproject.toml")


def _commit() -> str:
    """The checkout's commit, marked when what runs is not what was committed."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    head = _output([git, "rev-parse", "--short", "HEAD"])
    if not head:
        return "none"
    changes = _output([git, "status", "--porcelain", "--", *PROGRAM])
    return head + (" with changes" if changes else "")


def _output(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
