"""The client libraries of others, which are there only with the extra `bench-peers`.

Owns: loading them, and the line that says which one is not there.
"""

from __future__ import annotations

import importlib
from typing import Any

from bench.traffic import RunFailed


def library(name: str) -> Any:
    """A module of a client library, or why there is none."""
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        package = missing.name or name
        raise RunFailed(
            f"{package} is not installed: pip install 'postroom[bench-peers]'"
        ) from missing
