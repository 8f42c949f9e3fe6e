"""A start: the directory is read as it was left, in a new life of the same node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rig import Rig, rig


def directory(r: Rig) -> dict[str, Any]:
    """All that the directory remembers."""
    house = r.broker.house
    return {
        "members": {
            (mesh.name, one.name): (one.id, one.access, one.agent_types, one.note, one.created_at)
            for mesh in house.meshes.values()
            for one in mesh.members.values()
        },
        "tokens": {
            one.id: (one.member.name, one.secret, one.roles, one.expires_at, one.parent)
            for one in house.tokens.values()
        },
        "boxes": {
            one.address: (one.id, one.chosen, one.vacant_at, one.ended_through)
            for one in house.boxes.values()
        },
    }


async def test_it_is_read_as_it_was_left(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await owner.ask("mesh.create", mesh="far")
        await owner.ask("member.add", member="bob", agent_types=["x"], note="n", access="admin")
        await owner.ask("token.create", roles=["service"], ttl_ms=90_000)
        await r.join("alice", session="here")
        gone = await r.join("alice", session="vacant")
        await gone.ask("bye")
        closed = await r.join("alice", session="closed")
        await owner.ask("mail.send", to="alice/closed", body=1)
        await closed.ask("bye", final=True)
        await r.join("carol")
        await owner.ask("member.remove", member="carol")
        before = directory(r)
        node = r.broker.house.node
        await r.restart()
        assert directory(r) == before
        assert (r.broker.house.node, r.broker.house.incarnation) == (node, 2)
        assert "alice/closed" not in before["boxes"]


async def test_ends_that_came_while_it_was_down_come_at_the_start(tmp_path: Path) -> None:
    async with rig(tmp_path, mail__retention_ms=100_000, mail__dedupe_ms=1_000) as r:
        owner = await r.join("owner", role="service")
        await owner.ask("token.create", ttl_ms=1_000)
        await (await r.join("alice", session="s1")).ask("bye")
        await r.crash()
        r.clock.time += 100_000
        await r.start()
        await r.settle()
        assert len(r.broker.house.tokens) == 2
        assert r.rows("SELECT count(*) FROM tokens") == [(2,)]
        assert r.rows("SELECT count(*) FROM mailboxes WHERE session = 's1'") == [(0,)]
