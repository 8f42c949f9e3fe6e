"""Pairs: senders and receivers of their own, one to one, with a fixed number in flight.

Owns: the shapes 1:1 and 100:100 with 1, 10 and 64 in flight for each sender.
"""

from __future__ import annotations

import argparse

from bench.case import Case
from bench.command import measure, options

SHAPES = "1:1,1:10,1:64,100:1,100:10,100:64"


def main(words: list[str]) -> int:
    """`python -m bench pairs`"""
    parser = options("pairs", "each sender writes to a receiver of its own")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a run")
    parser.add_argument(
        "--shapes",
        type=shapes,
        default=shapes(SHAPES),
        metavar="PAIRS:WINDOW,...",
        help=f"default {SHAPES}",
    )
    arguments = parser.parse_args(words)
    cases = [
        case(pairs, window, arguments.seconds, arguments.body) for pairs, window in arguments.shapes
    ]
    return measure("pairs", cases, arguments)


def case(pairs: int, window: int, seconds: float, body: int) -> Case:
    """One shape, also for the ceiling."""
    return Case(
        name=f"{pairs}:{pairs}, {window} in flight",
        pattern="pairs",
        senders=pairs,
        receivers=pairs,
        window=window,
        seconds=seconds,
        body_bytes=body,
    )


def shapes(text: str) -> list[tuple[int, int]]:
    """`100:10` is a hundred pairs with ten in flight each."""
    found = []
    for word in text.split(","):
        pairs, _, window = word.partition(":")
        if not (pairs.isdigit() and window.isdigit() and int(pairs) and int(window)):
            raise argparse.ArgumentTypeError(f"{word!r} is not PAIRS:WINDOW")
        found.append((int(pairs), int(window)))
    return found
