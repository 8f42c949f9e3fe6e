"""Burst: many peers write to random others as fast as their windows allow; all is acked.

Owns: the shape. 100 peers x 1,000 messages by default.
"""

from __future__ import annotations

from bench.case import Case
from bench.command import measure, options


def main(words: list[str]) -> int:
    """`python -m bench burst`"""
    parser = options("burst", "every peer writes to random others; everything is acked")
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--messages", type=int, default=1_000, help="for each peer to send")
    parser.add_argument("--window", type=int, default=10, help="unanswered sends of each peer")
    arguments = parser.parse_args(words)
    if arguments.peers < 2 or arguments.messages < 1 or arguments.window < 1:
        parser.error("a burst wants two peers, a message and a window at least")
    return measure(
        "burst",
        [case(arguments.peers, arguments.messages, arguments.window, arguments.body)],
        arguments,
    )


def case(peers: int, messages: int, window: int, body: int) -> Case:
    """The shape, also for the ceiling."""
    return Case(
        name=f"{peers} x {messages:,}, {window} in flight",
        pattern="burst",
        senders=peers,
        window=window,
        messages=messages,
        body_bytes=body,
    )
