"""What is no client: the broker's own program, run in this process.

Owns: which commands those are. Imports nothing of the broker before one of them is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

STEERING: Final = {
    "serve": "Start the broker.",
    "migrate": "Look at or change the schema of a stopped broker's database.",
    "doctor": "Examine a stopped broker's data.",
}
"""Their arguments are told by themselves: `postroom serve --help`."""


def steer(arguments: Sequence[str]) -> int:
    """Run `python -m broker` with these arguments; its exit code."""
    program = importlib.import_module("broker.__main__")
    return int(program.main(list(arguments)))
