"""What the tests of dispatches share: an identity, its creator and its workers."""

from __future__ import annotations

from typing import Any

from rig import Peer, Rig

PROMPT = "hello\n"
PROMPT_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
FIELDS: dict[str, str] = {
    "agent_type": "Super-Admin",
    "dag_task_id": "TASK-1",
    "parent_session_id": "ses_parent",
}
KEY = "77e0d49c974d06eddd99a499edfddf780e88f1d0bcbb20606bcb10fc07b97c9b"
"""The key of that prompt for that task, as the protocol gives it."""

TABLES = ("dispatch_prompt_refs", "dispatch_queue", "dispatch_context", "dispatch_attempts")


async def worker(r: Rig, name: str = "worker", **hello: Any) -> Peer:
    """A member that was given the agent type of the identity, and is there as a service."""
    hello.setdefault("role", "service")
    peer = await r.join(name, **hello)
    owner = await r.join("owner", observe=True)
    await owner.ask("member.update", member=name, agent_types=[FIELDS["agent_type"]])
    await owner.ask("bye")
    return peer


async def create(peer: Peer, **more: Any) -> Any:
    """Create the dispatch of that identity, or of one that differs in some fields."""
    return await peer.ask("dispatch.create", **{**FIELDS, "prompt": PROMPT, **more})


async def lease(peer: Peer, call_id: str = "call", **more: Any) -> Any:
    """Lease it by its key."""
    return await peer.ask("dispatch.lease", **{"dispatch_key": KEY, "call_id": call_id, **more})


def holding(leased: Any) -> dict[str, str]:
    """What names a lease in the calls that end or prolong it."""
    return {"dispatch": leased["dispatch"], "lease_token": leased["lease_token"]}


def results(peer: Peer) -> list[dict[str, Any]]:
    """The bodies of the results mailed since the last look, each once."""
    new = [mail for mail in peer.mail() if mail["claims"] == 1]
    return [mail["body"] for mail in new if mail["kind"] == "dispatch.result"]


def counts(r: Rig) -> list[int]:
    """How many rows there are of each kind."""
    return [r.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]
