"""The Python client of the Postroom broker.

Owns: the names that applications import. `docs/client.md` says how they are used.
"""

from clients.client import Client, connect
from clients.conversation import Reconnected

__all__ = ["Client", "Reconnected", "connect"]
