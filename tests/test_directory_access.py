"""The way in: what a token proves, and that all that is wrong with one looks the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rig import Rig, rig

from broker.areas.directory import access


async def refusals(r: Rig, **hello: Any) -> tuple[dict[str, Any], tuple[int, str] | None]:
    """What a hello that must fail is answered, and how the connection ends."""
    peer = r.connect()
    answer = await peer.answer("hello", **hello)
    return answer["error"], peer.line.closed


async def test_whatever_is_wrong_with_it_looks_the_same(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        await r.join("alice")
        good = r.tokens["alice"]
        id = good.split("_")[1]
        ended = (await owner.ask("token.create", member="alice", ttl_ms=1_000))["token"]
        revoked = await owner.ask("token.create", member="alice")
        await owner.ask("token.revoke", token_id=revoked["token_id"])
        far = await owner.ask("mesh.create", mesh="far")
        await r.advance(1_000)
        wrong: list[dict[str, Any]] = [
            {"token": None},
            {},
            {"token": ""},
            {"token": "nonsense"},
            {"token": f"prm_{id}_wrong"},
            {"token": f"prm_nobody_{good.split('_')[2]}"},
            {"token": good + "x"},
            {"token": good.upper()},
            {"token": r.tokens["owner"]},
            {"token": ended},
            {"token": revoked["token"]},
            {"token": far["token"]},
            {"token": good, "mesh": "far"},
            {"token": good, "mesh": "nowhere"},
            {"token": good, "mesh": "Not A Name"},
            {"token": good, "member": "bob"},
            {"token": good, "member": "ALICE"},
        ]
        answers = [await refusals(r, **{"member": "alice", **hello}) for hello in wrong]
        first, closed = answers[0]
        assert first["code"] == "unauthorized"
        assert first["retryable"] is False
        assert closed is not None
        assert closed[0] == 4401
        assert all(answer == answers[0] for answer in answers)


async def test_only_the_hash_of_a_secret_is_on_disk(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice")
        secrets = [token.split("_")[2] for token in r.tokens.values()]
        await r.broker.store.close()
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("postroom.*"))  # noqa: ASYNC240 - nobody else waits
        assert len(kept) > 10_000
        assert not any(secret.encode() in kept for secret in secrets)
        await r.start()


async def test_a_role_that_the_token_does_not_allow(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", observe=True)
        made = await owner.ask("token.create", roles=["service"])
        for hello in ({}, {"role": "control-plane"}, {"role": "session", "observe": True}):
            error, closed = await refusals(r, member="owner", token=made["token"], **hello)
            assert error["code"] == "forbidden"
            assert "role" in error["message"]
            assert closed is not None
            assert closed[0] == 4403
        await r.join("owner", token=made["token"], role="service")


async def test_a_wrong_type_is_a_bad_request_and_the_connection_stays(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        for field in ("member", "mesh", "token", "role"):
            peer = r.connect()
            hello = {"member": "owner", "token": r.tokens["owner"], field: 7}
            error = await peer.refused("bad_request", "hello", **hello)
            assert field in error["message"]
            assert peer.line.closed is None


async def test_a_removed_member_is_unknown(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice")
        owner = await r.join("owner", observe=True)
        await owner.ask("member.remove", member="alice")
        error, _ = await refusals(r, member="alice", token=r.tokens["alice"])
        assert error["code"] == "unauthorized"


async def test_secrets_are_compared_in_even_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the token exists or not, two digests are compared."""
    compared: list[tuple[bytes, bytes]] = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(access, "same_digest", spy)
    async with rig(tmp_path) as r:
        for token in ("nonsense", "prm_nobody_x", r.tokens["owner"]):
            await r.connect().answer("hello", member="owner", token=token)
    assert len(compared) == 3


async def test_who_may_read_the_brokers_own_figures(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.join("alice")
        owner = await r.join("owner", observe=True)
        admin = await owner.ask("member.add", member="ann", access="admin")
        far = await owner.ask("mesh.create", mesh="far")
        house, now = r.broker.house, r.clock.now()
        for token, expected in (
            (None, None),
            ("nonsense", None),
            (r.tokens["alice"], False),
            (far["token"], False),
            (r.tokens["owner"], True),
            (admin["token"], True),
        ):
            assert access.steers_broker(house, now, token) is expected
