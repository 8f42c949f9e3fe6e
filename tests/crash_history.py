"""What clients have lived through, and what of it the protocol does not allow.

Owns: the lines that clients write down, and the checker over them. A line is written before or
after what it tells, so that a client that is killed has told no more than it did. Instants are of
the one monotonic clock of the machine.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

Line = dict[str, Any]

NEVER = 2**63


class Pen:
    """Writes lines that survive their writer."""

    def __init__(self, path: Path, who: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._who = who

    def note(self, what: str, **facts: Any) -> None:
        """One line, whole, at once."""
        line = {"at": time.monotonic_ns(), "who": self._who, "what": what, **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def read(paths: Iterable[Path]) -> list[Line]:
    """All lines in the order in which they were written. A killed writer's last may be half one."""
    lines: list[Line] = []
    for path in paths:
        whole = path.read_bytes().split(b"\n")[:-1]
        lines += [json.loads(line) for line in whole]
    return sorted(lines, key=lambda line: line["at"])


@dataclass(frozen=True)
class Claim:
    """A hand-over as its holder was told of it."""

    number: int
    delivery: str
    key: str
    presence: str
    claims: int
    attempt: int
    began_at: int
    ends_at: int
    got_at: int


def number(id: str) -> int:
    """The number in a wire id."""
    return int(id[1:])


class History:
    """The lines, by what they tell."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.by: defaultdict[str, list[Line]] = defaultdict(list)
        for line in lines:
            self.by[line["what"]].append(line)
        self.claims: dict[int, Claim] = {}
        for line in self.by["got"]:
            claim = Claim(
                number(line["claim"]),
                line["delivery"],
                line["key"],
                line["presence"],
                line["claims"],
                line["attempt"],
                line["began_at"],
                line["ends_at"],
                line["at"],
            )
            self.claims.setdefault(claim.number, claim)

    def check(self, outputs: Counter[str]) -> Iterator[str]:
        """Everything that should not have been. `outputs` is what came out at the end, by key."""
        yield from self._nothing_is_lost(outputs)
        yield from self._nothing_is_doubled(outputs)
        yield from self._no_delivery_after_its_ack()
        yield from self._no_two_live_claims()
        yield from self._counters_rise()
        yield from self._order()

    def _nothing_is_lost(self, outputs: Counter[str]) -> Iterator[str]:
        """An ack whose answer was lost has its output all the same: both are one transaction."""
        handed = {line["key"] for line in self.by["got"]}
        for line in self.by["sent"]:
            if line["key"] not in handed:
                yield f"{line['key']} was accepted as {line['message']} and never handed over"
            elif not outputs[line["key"]]:
                yield f"{line['key']} was accepted as {line['message']} and has no output"
        for line in self.by["acked"]:
            if not outputs[line["key"]]:
                yield f"{line['key']} was acked and has no output"

    def _nothing_is_doubled(self, outputs: Counter[str]) -> Iterator[str]:
        messages: defaultdict[str, set[str]] = defaultdict(set)
        for line in self.by["sent"]:
            messages[line["key"]].add(line["message"])
        for line in self.by["got"]:
            messages[line["key"]].add(line["message"])
        for key, found in messages.items():
            if len(found) > 1:
                yield f"{key} was stored more than once: {sorted(found)}"
        for key, count in outputs.items():
            if count > 1:
                yield f"{key} has {count} outputs"
        for key in outputs.keys() - {line["key"] for line in self.by["acking"]}:
            yield f"{key} has an output and nobody acked it"

    def _no_delivery_after_its_ack(self) -> Iterator[str]:
        acked: dict[str, Line] = {}
        for line in self.lines:
            if line["what"] == "acked":
                first = acked.setdefault(line["delivery"], line)
                if first["claim"] != line["claim"]:
                    yield (
                        f"{line['delivery']} was acked as {first['claim']} and as {line['claim']}"
                    )
        for line in self.by["got"]:
            end = acked.get(line["delivery"])
            if end is None:
                continue
            if number(line["claim"]) > number(end["claim"]):
                yield f"{line['delivery']} was claimed ({line['claim']}) after its ack"
            elif line["claim"] == end["claim"] and line["at"] > end["at"]:
                yield f"{line['delivery']} was handed over again after its ack"

    def _no_two_live_claims(self) -> Iterator[str]:
        """A claim may begin when the one before it has ended: by its lease, or by its holder."""
        ends = {claim.number: claim.ends_at for claim in self.claims.values()}
        for line in self.by["extended"]:
            ends[number(line["claim"])] = line["ends_at"]
        given_back = {number(line["claim"]): line["at"] for line in self.by["giving back"]}
        left = self._left_at()
        of: defaultdict[str, list[Claim]] = defaultdict(list)
        for claim in self.claims.values():
            of[claim.delivery].append(claim)
        for claims in of.values():
            claims.sort(key=lambda claim: claim.number)
            for one, two in pairwise(claims):
                released = min(given_back.get(one.number, NEVER), left.get(one.presence, NEVER))
                if two.began_at < ends[one.number] and two.got_at < released:
                    yield (
                        f"{one.delivery}: c{two.number} began at {two.began_at}, "
                        f"c{one.number} of {one.presence} lasts to {ends[one.number]}"
                    )

    def _left_at(self) -> dict[str, int]:
        """From when on each presence may have left: its label has come anew, or says bye."""
        left: dict[str, int] = {}
        now_here: dict[str, str] = {}
        for line in self.lines:
            if line["what"] == "here":
                left.pop(line["presence"], None)
                now_here[line["who"]] = line["presence"]
            elif line["what"] == "coming" and line["who"] in now_here:
                left.setdefault(now_here[line["who"]], line["at"])
        return left

    def _counters_rise(self) -> Iterator[str]:
        of: defaultdict[str, list[Claim]] = defaultdict(list)
        for claim in self.claims.values():
            of[claim.delivery].append(claim)
        for delivery, claims in of.items():
            claims.sort(key=lambda claim: claim.number)
            counts = [claim.claims for claim in claims]
            if counts != sorted(set(counts)):
                yield f"{delivery}: hand-overs are counted {counts}"
            attempts = [claim.attempt for claim in claims]
            if attempts != sorted(attempts):
                yield f"{delivery}: attempts are counted {attempts}"

    def _order(self) -> Iterator[str]:
        """What one producer sent rises, and so do the first claims of one presence."""
        sent: dict[str, int] = {}
        for line in self.by["sent"]:
            if line["first"] and number(line["message"]) <= sent.get(line["who"], 0):
                yield f"{line['who']}: {line['message']} came after a higher one"
            sent[line["who"]] = max(sent.get(line["who"], 0), number(line["message"]))
        last: dict[tuple[str, str, int], int] = {}
        seen: set[str] = set()
        for line in self.by["got"]:
            if line["claims"] != 1 or line["claim"] in seen:
                continue
            seen.add(line["claim"])
            lane = line["presence"], line["mailbox"], line["priority"]
            seq = number(line["delivery"])
            if seq < last.get(lane, 0):
                yield f"{lane}: first claim of d{seq} came after d{last[lane]}"
            last[lane] = max(seq, last.get(lane, 0))
