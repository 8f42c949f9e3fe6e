"""Redis that syncs its log before it answers: `python -m bench.others.redis_server DIR`

Owns: the settings that differ from the defaults: the append-only file, synced always.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.others.launch import binary, free_port, serve


def main(data: Path) -> None:
    """Start it and wait for its end."""
    program, port = binary("redis-server"), free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    serve(command, f"redis://127.0.0.1:{port}", port)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
