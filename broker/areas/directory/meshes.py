"""Meshes: isolated worlds, each with an owner of its own.

Owns: making and listing them, and the first of them at the first start.
"""

from __future__ import annotations

from typing import Final

from broker.areas.directory.members import make
from broker.areas.directory.tokens import issue
from broker.core.house import DEFAULT_MESH, Mesh, Presence
from broker.core.operations import Operations
from broker.core.pages import page, position
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.directory import CreateMesh, ListMeshes, MeshCreated, Meshes
from broker.wire.directory import Mesh as ShownMesh
from broker.wire.errors import Refused

sql = Queries(__file__)
INSERT = sql.take("insert")
sql.close()

operations = Operations()

OWNER: Final = "owner"


def found(turn: Turn, name: str) -> tuple[str, str]:
    """Make a mesh with its owner; the id of the owner's token, and the token."""
    id = turn.insert(INSERT, (name, turn.now))
    mesh = Mesh(id, name, turn.now)
    turn.enter(turn.house.meshes, name, mesh)
    return issue(turn, make(turn, mesh, OWNER, "owner"))


def owner_token(turn: Turn) -> str | None:
    """Another token for the owner of the first mesh, for who has lost all of them."""
    owner = turn.house.meshes[DEFAULT_MESH].members.get(OWNER)
    return None if owner is None else issue(turn, owner)[1]


@operations.handle(CreateMesh)
def create_mesh(turn: Turn, caller: Presence, request: CreateMesh) -> MeshCreated:
    """Make a mesh and its owner."""
    _may(caller)
    if request.mesh in turn.house.meshes:
        raise Refused("key_conflict", f"mesh: {request.mesh!r} is there already")
    id, token = found(turn, request.mesh)
    return MeshCreated(mesh=request.mesh, member=OWNER, token=token, token_id=id)


@operations.handle(ListMeshes, drains=True)
def list_meshes(turn: Turn, caller: Presence, request: ListMeshes) -> Meshes:
    """List all meshes."""
    _may(caller)
    meshes = turn.house.meshes
    after = position("mesh", request.after)
    names = sorted(name for name in meshes if name > after)
    shown, more = page(
        "mesh",
        ((name, _shown(meshes[name])) for name in names),
        request.limit,
        turn.settings.limits.frame,
    )
    return Meshes(meshes=shown, next=more)


def _shown(mesh: Mesh) -> ShownMesh:
    return ShownMesh(mesh=mesh.name, created_at=mesh.created_at, members=len(mesh.members))


def _may(caller: Presence) -> None:
    if caller.mesh.name != DEFAULT_MESH or caller.member.access != "owner":
        raise Refused("forbidden", f"only owners of the mesh {DEFAULT_MESH!r} steer meshes")
