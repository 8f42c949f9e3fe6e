"""Fan-out: one sender writes to a group, and each of its members gets, and acks, a copy.

Owns: the shape. The figures are of deliveries: each message makes one for every member. Once with
every delivery acked as it comes, once with the acks held back until all is delivered, so that the
deliveries are measured alone.
"""

from __future__ import annotations

from bench import command
from bench.case import Case
from bench.run import Series, rounds
from bench.show import show
from bench.targets import TARGETS

FANNED = ("clients", "broker")
ROOM = 1_000
"""A receiver holds 1,024."""
AT_ONCE = 16_000
"""Acks that may come at once; a broker refuses requests when 20,000 wait."""


def main(words: list[str]) -> int:
    """`python -m bench fanout`"""
    parser = command.options(
        "fanout", "one sender to a group of 1,000 members; deliveries a second"
    )
    parser.set_defaults(targets=list(FANNED))
    parser.add_argument("--members", type=int, default=1_000)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--windows", default="1,8,64", help="messages not yet through, a case each")
    arguments = parser.parse_args(words)
    windows = [int(word) for word in arguments.windows.split(",") if word.isdigit()]
    if arguments.members < 2 or not windows or min(windows) < 1:
        parser.error("a fan-out wants two members and a window at least")
    if not 1 <= arguments.messages <= ROOM:
        parser.error(f"at most {ROOM} messages can be held before they are acked")
    command.allow_files(arguments.members)
    where = command.place(arguments)
    empty = command.report("fanout", where, arguments.targets)
    series: list[Series] = []
    members, messages = arguments.members, arguments.messages
    at_once = [window for window in windows if window * members <= AT_ONCE]
    holding = [name for name in arguments.targets if holds(name)]
    steps = len(at_once) * len(arguments.targets) + len(windows) * len(holding)
    with command.progress(steps * arguments.runs) as watch:
        for window in windows:
            for targets, after in ((arguments.targets, False), (holding, True)):
                if after or window in at_once:
                    one = case(members, messages, window, arguments.body, after)
                    series += rounds([one], targets, arguments.runs, where, watch)
    show(command.filled(empty, series=series), as_json=arguments.json)
    return 0


def holds(target: str) -> bool:
    """Whether acks can be held back there: an application's client acks what it has handled."""
    return TARGETS[target].driver == "raw"


def case(members: int, messages: int, window: int, body: int, acks_after: bool) -> Case:
    """One group; enough room that nothing has to queue."""
    return Case(
        name=f"1:{members:,}, {window} in flight{', acks afterwards' * acks_after}",
        acks_after=acks_after,
        pattern="fanout",
        senders=1,
        receivers=members,
        window=window,
        messages=messages,
        body_bytes=body,
    )
