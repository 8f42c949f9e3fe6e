"""The data directory of a running broker: what its files are called, and how they are written.

Owns: opening the database, the private files beside it, and one clear error for all that keeps them
from being used at the start. Knows nothing of what they say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from broker.clock import SystemClock
from broker.config import Settings
from broker.store.lock import DataDirectoryUnusable
from broker.store.migrate import Migrations
from broker.store.sqlite import (
    STORE_ERRORS,
    Connector,
    Store,
    StoreFault,
    connect,
    open_store,
)

DATABASE: Final = "postroom.db"
OWNER_TOKEN: Final = "owner.token"  # noqa: S105 - the name of a file
URL_FILE: Final = "broker.url"


@contextmanager
def usable(directory: Path) -> Iterator[None]:
    """What the disk or the database says in here is told as the directory's fault."""
    try:
        yield
    except OSError as error:
        where = error.filename or directory
        raise DataDirectoryUnusable(f"{where} cannot be used: {error.strerror}") from error
    except (StoreFault, *STORE_ERRORS) as error:
        raise DataDirectoryUnusable(f"{directory / DATABASE} cannot be used: {error}") from error


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all, whatever happens after."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # left by a start that died, who knows with which mode
    draft.touch(mode=0o600)
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def open_data(
    directory: Path,
    settings: Settings,
    connector: Connector = connect,
) -> Store:
    """Migrate and open the database of a data directory that this process has locked."""
    path = directory / DATABASE
    with usable(directory):
        _migrate(path)
        return await open_store(path, settings.store.synchronous, connector)


def _migrate(path: Path) -> None:
    path.touch(mode=0o600)
    plain = connect(path.absolute().as_uri())
    try:
        plain.execute("PRAGMA journal_mode = WAL")
        Migrations.discover().up(plain, SystemClock().now())
    finally:
        plain.close()
