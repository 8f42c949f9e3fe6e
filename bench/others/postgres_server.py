"""A throw-away PostgreSQL cluster with its defaults: `python -m bench.others.postgres_server DIR`

Owns: making the cluster and running it as an ordinary user, since it refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from bench.others.launch import binary, free_port, serve

INSTALLED = Path("/usr/lib/postgresql")
MAX_CONNECTIONS = 400
"""Above the default of 100: each of 100 pairs has a connection at both ends."""
USERS = ("postgres", "nobody")


def main(data: Path) -> None:
    """Make the cluster, start it, wait for its end."""
    versions = sorted(INSTALLED.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    initdb, postgres = binary("initdb", *versions), binary("postgres", *versions)
    user = _user()
    cluster = data / "cluster"
    cluster.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(cluster, user)
        for parent in (data, data.parent):
            parent.chmod(0o711)
    made = subprocess.run(
        [initdb, "-D", str(cluster), "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-sync"],
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        stdout=subprocess.DEVNULL,
        cwd="/",
        check=False,
    )
    if made.returncode:
        sys.exit("initdb failed")
    port = free_port()
    command = [postgres, "-D", str(cluster), "-p", str(port), "-k", ""]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", f"max_connections={MAX_CONNECTIONS}"]
    url = f"postgresql://bench@127.0.0.1:{port}/postgres"
    serve(command, url, port, user, stop=signal.SIGINT)  # a fast shutdown


def _user() -> str | None:
    """Whom it runs as; None: ourselves."""
    if os.geteuid():
        return None
    for name in USERS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    sys.exit("PostgreSQL does not run as root, and there is no other user here")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
