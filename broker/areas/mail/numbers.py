"""The counter that numbers everything that passes: messages odd, deliveries and claims even.

Owns: the counter. It lives in memory; a mark on disk, taken in blocks, says where a restart goes
on, so that a number once given is never given again.
"""

from __future__ import annotations

from typing import Final

from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
RESERVE_NUMBERS = sql.take("reserve_numbers")
sql.close()

BLOCK: Final = 65_536  # one row written for some thirty thousand messages; a restart skips the rest


def take_numbers(turn: Turn, pairs: int) -> int:
    """The first, odd number of so many pairs: a message and its deliveries behind it."""
    house = turn.house
    first = house.next_number
    house.next_number = after = first + 2 * pairs
    if after > house.number_mark:
        turn.put(house, "number_mark", after + BLOCK)
        turn.later(RESERVE_NUMBERS, (house.number_mark,))
    return first


def claim_number(turn: Turn) -> int:
    """A number for a claim that is not its delivery's first at birth."""
    return take_numbers(turn, 1) + 1
