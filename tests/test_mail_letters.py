"""Mail that the broker itself sends: never refused, and else like any other."""

from __future__ import annotations

from pathlib import Path

from mail_desk import bodies, desk, held, send, take
from rig import Rig

from broker.areas.mail.letters import post
from broker.core.turn import Turn

BODY = b'{"news": 1}'


async def posted(r: Rig, to: str, *, sender: str | None = None, priority: int = 50) -> str:
    """Let the broker send a mail, as an area does in a request."""
    members = r.broker.house.meshes["default"].members
    found: list[int] = []

    def job(turn: Turn) -> None:
        own = None if sender is None else members[sender].box
        found.append(
            post(turn, members[to].box, "system.news", BODY, priority=priority, sender=own)
        )

    r.broker.executor.submit(job)
    await r.settle()
    return f"m{found[0]}"


async def test_it_comes_from_postroom(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        message = await posted(r, "ann")
        mail = await take(ann)
        assert (mail["message"], mail["from"], mail["to"], mail["kind"]) == (
            message,
            "postroom",
            "ann",
            "system.news",
        )
        assert BODY in ann.line.raw[-1]
        trace = await ann.ask("mail.trace", message=message)
        assert (trace["from"], trace["total"]) == ("postroom", 1)
        await ann.refused("not_found", "mail.cancel", message=message)
        await send(ann, "ann", "what?", reply_to=message)


async def test_it_may_come_in_the_name_of_a_member(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        message = await posted(r, "bob", sender="ann")
        (mail,) = (await bob.ask("mail.claim"))["deliveries"]
        assert mail["from"] == "ann"
        assert (await ann.ask("mail.trace", message=message))["total"] == 1


async def test_it_is_queued_ordered_and_redelivered_like_any_other(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1, mail__lease_ms=1_000, mail__backoff_ms=1) as r:
        ann = await r.join("ann", role="service", capacity=1)
        await send(ann, "ann", "fills it")
        await posted(r, "ann")
        await posted(r, "ann", priority=60)
        await ann.ask("mail.ack", **held(await take(ann)))
        mail = await take(ann)
        assert mail["priority"] == 60
        await r.advance(1_001)
        again = await take(ann)
        assert (again["body"], again["priority"]) == ({"news": 1}, 50)
        await ann.ask("mail.ack", **held(again))
        again = await take(ann)
        assert (again["message"], again["attempt"]) == (mail["message"], 2)


async def test_it_waits_for_who_is_not_there(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await ann.ask("bye")
        await posted(r, "ann")
        await r.restart()
        ann = await r.join("ann", role="service")
        assert bodies(ann.mail()) == [{"news": 1}]
