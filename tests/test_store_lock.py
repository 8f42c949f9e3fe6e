"""The data directory: made private, held by one process, and clear words when it cannot be had."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from broker.store.lock import LOCK_NAME, DataDirectoryLocked, DataDirectoryUnusable, DirectoryLock

HOLD = """
import sys
from pathlib import Path
from broker.store.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]), "serve")
print("held", flush=True)
sys.stdin.read()
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    """Another process that holds the directory until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "share" / "postroom"
    with DirectoryLock(directory, "serve") as lock:
        assert lock.directory == directory
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / LOCK_NAME).stat().st_mode) == 0o600


def test_a_directory_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with DirectoryLock(tmp_path, "serve"):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        with pytest.raises(DataDirectoryLocked) as refused:
            DirectoryLock(tmp_path, "doctor")
        assert str(refused.value) == (
            f"the data directory {tmp_path} is in use by postroom serve, pid {first.pid}: "
            f"stop that first, or name another with --data"
        )


def test_the_lock_ends_with_its_holder_even_when_it_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        first.kill()
        first.wait()
        with DirectoryLock(tmp_path, "serve"):
            assert f"pid {os.getpid()}" in (tmp_path / LOCK_NAME).read_text()


def test_the_lock_is_released(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path, "serve")
    with pytest.raises(DataDirectoryLocked, match=f"pid {os.getpid()}"):
        DirectoryLock(tmp_path, "migrate")
    lock.release()
    lock.release()
    DirectoryLock(tmp_path, "migrate").release()


def test_a_refused_second_holder_leaves_the_first_one_alone(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path, "serve"):
        for _ in range(2):
            with pytest.raises(DataDirectoryLocked, match="postroom serve"):
                DirectoryLock(tmp_path, "migrate")


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("")
    with pytest.raises(DataDirectoryUnusable, match=r"data cannot be used: it is a file; name"):
        DirectoryLock(path, "serve")


def test_a_file_on_the_way_to_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryUnusable, match="Not a directory; name another with --data"):
        DirectoryLock(tmp_path / "file" / "data", "serve")


def test_a_directory_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Permissions do not stop root, who may well run this: the refusal is made here.
    def refuse(path: Path, *_: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataDirectoryUnusable, match=r"postroom\.lock: Permission denied; name"):
        DirectoryLock(tmp_path, "serve")


def test_a_full_disk_does_not_keep_anybody_from_holding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with (
        DirectoryLock(tmp_path, "doctor"),
        pytest.raises(DataDirectoryLocked, match="in use by another process"),
    ):
        DirectoryLock(tmp_path, "serve")
