"""The number behind a mesh's name, for who has a database and no house: the doctor.

Owns: that one look.
"""

from __future__ import annotations

from broker.doctor import Database
from broker.store.queries import Queries

sql = Queries(__file__)
MESH = sql.take("mesh")
sql.close()


def mesh_id(database: Database, name: str) -> int | None:
    """The id of a mesh, None if there is none of that name."""
    row = database.one(MESH, (name,))
    return None if row is None else int(row[0])
