"""Backlog: what a message costs as its mailbox grows. One mailbox, filled while nobody drains it.

Owns: the depths, and the two costs at each: to send one more, and to claim and ack one.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable

import msgspec
from msgspec import Raw, Struct

from bench import command
from bench.asker import Asker
from bench.procedure import Desk, Figure, Finding, measures, run
from bench.report import Measure, spread
from bench.show import show
from bench.traffic import RunFailed

DEPTHS = "1000,100000,1000000"
SENDERS = 4
CHUNK = 250
"""Sends of one connection that are answered before the next leave: far below what is too many."""
CLAIMED_AT_ONCE = 100
ROUNDS = 3
SAMPLE = 5_000
MICRO = 1e6


class Handed(Struct):
    """What is needed of a claimed delivery."""

    delivery: str
    claim: str


class Claimed(Struct):
    """The answer to a claim."""

    deliveries: list[Handed]


def main(words: list[str]) -> int:
    """`python -m bench backlog`"""
    parser = command.options("backlog", "cost per message by the depth of the mailbox")
    parser.set_defaults(targets=["broker"], runs=1)
    parser.add_argument("--depths", default=DEPTHS, metavar="N,...")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="messages of one measurement")
    arguments = parser.parse_args(words)
    depths = _depths(arguments)
    room = depths[-1] + 2 * arguments.sample
    arguments.settings.append(f"mail.max_depth={room}")
    where = command.place(arguments)
    empty = command.report("backlog", where, ["broker"])
    figures: list[Figure] = []
    options: dict[str, int | str] = {
        "depths": arguments.depths,
        "sample": arguments.sample,
        "body": arguments.body,
    }
    with command.progress(arguments.runs) as watch:
        for _ in range(arguments.runs):
            figures += run("backlog", where, watch, members=SENDERS + 1, options=options)
    found = measures("broker", figures)
    show(command.filled(empty, measures=[*found, *growth(found)]), as_json=arguments.json)
    return 0


def growth(found: list[Measure]) -> list[Measure]:
    """Each cost over that at the least depth."""
    first = {one.what: spread(one.values).median for one in reversed(found)}
    return [
        Measure(
            case=one.case,
            target=one.target,
            what=f"{one.what}, over that at the least depth",
            unit="x",
            values=[value / first[one.what] for value in one.values],
            digits=2,
        )
        for one in found
        if one.unit == "us" and one.case != found[0].case
    ]


async def work(desk: Desk) -> Finding:
    """Fill to each depth and measure there."""
    body = "x" * (desk.number("body") - 2)
    target = desk.names[SENDERS]
    senders = await desk.connect_all(range(SENDERS))
    reader = await desk.connect(SENDERS)
    sample = desk.number("sample")
    figures: list[Figure] = []
    depth = acked = 0
    for wanted in map(int, str(desk.options["depths"]).split(",")):
        while depth < wanted:
            portion = min(wanted - depth, 10_000)
            await send(senders, target, body, portion)
            depth += portion
            desk.tell("filling the mailbox", depth)
        case = f"at a depth of {wanted:,}"
        for _ in range(ROUNDS):
            figures += await _measured(
                desk, case, "send", send(senders, target, body, sample), sample
            )
            figures += await _measured(desk, case, "claim and ack", drain(reader, sample), sample)
            acked += sample
    return Finding(figures=figures, acked=acked)


async def send(senders: list[Asker], target: str, body: str, count: int) -> None:
    """So many messages, by all senders together."""

    async def some(sender: Asker, share: int) -> None:
        for start in range(0, share, CHUNK):
            several = range(start, min(start + CHUNK, share))
            await asyncio.gather(*(sender.ask("mail.send", to=target, body=body) for _ in several))

    shares = [count // len(senders)] * len(senders)
    shares[0] += count - sum(shares)
    await asyncio.gather(*map(some, senders, shares))


async def drain(reader: Asker, count: int) -> None:
    """Claim and ack so many."""
    left = count
    acks: list[asyncio.Future[Raw]] = []
    while left:
        answer = await reader.ask("mail.claim", max=min(left, CLAIMED_AT_ONCE))
        several = msgspec.json.decode(answer, type=Claimed).deliveries
        if not several:
            raise RunFailed(f"the mailbox gave no more, with {left} of {count} still to come")
        acks += [reader.ask("mail.ack", delivery=one.delivery, claim=one.claim) for one in several]
        left -= len(several)
    await asyncio.gather(*acks)


async def _measured(
    desk: Desk, case: str, what: str, doing: Awaitable[None], count: int
) -> list[Figure]:
    cpu, started = desk.cpu(), time.perf_counter()
    await doing
    seconds, used = time.perf_counter() - started, desk.cpu() - cpu
    return [
        Figure(case=case, what=f"{what}: broker CPU", unit="us", value=used / count * MICRO),
        Figure(case=case, what=f"{what}: elapsed", unit="us", value=seconds / count * MICRO),
    ]


def _depths(arguments: argparse.Namespace) -> list[int]:
    depths = [int(word) for word in arguments.depths.split(",") if word.isdigit()]
    if not depths or depths != sorted(set(depths)) or depths[0] < 1 or arguments.sample < 1:
        raise RunFailed(f"{arguments.depths!r} is no rising list of depths")
    return depths
