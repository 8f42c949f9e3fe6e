"""Answers, printed: one JSON document for programs, lines and tables for people.

Owns: which columns people are shown of which list, and what is shown in words of its own. What is
not named here is shown by its fields.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from broker.wire import Answer
from broker.wire.dispatch import Dispatch
from broker.wire.mail import Claimed, Delivery, Sent, Trace, Traced
from clients.command.tables import print_table
from clients.command.texts import body, cell, instant, safe

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "Listed": ("delivery", "mailbox", "from", "kind", "priority", "state", "failures", "sent_at"),
    "Dispatch": (
        "dispatch",
        "agent_type",
        "dag_task_id",
        "parent_session_id",
        "status",
        "created_at",
    ),
    "DelegationPreview": ("delegation", "caller", "callee", "status", "task_preview", "created_at"),
    "Token": ("token_id", "member", "roles", "expires_at", "last_used_at", "parent"),
}
"""What fits a terminal of the lists that have more."""


def document(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()


def answer(value: Answer, *, json: bool) -> None:
    """Print an answer."""
    if json:
        document(value)
    else:
        WORDS.get(type(value), _fields)(value)
        sys.stdout.flush()


def _fields(value: Any) -> None:
    """Fields as lines, lists of structs as tables."""
    fields = [(field.encode_name, getattr(value, field.name)) for field in _known(value)]
    lists = [(name, rows) for name, rows in fields if _is_table(rows)]
    plain = [one for one in fields if one not in lists and one[0] != "next"]
    noun = next((name for name, _ in lists), "")
    # A list that says nothing else needs no headline.
    if not lists or any(one not in (None, {}) for _, one in plain):
        lines([(name, cell(name, one)) for name, one in plain if one not in (None, UNSET)])
    for name, rows in lists:
        if rows or len(fields) > 2:
            rows_of(rows)
        else:
            print(f"no {name}")
    if not fields:
        print("ok")
    if (after := getattr(value, "next", None)) is not None:
        print(f"more {noun}: --after {after}")


def _known(value: Struct) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(type(value))


def _is_table(value: object) -> bool:
    return isinstance(value, list) and (not value or isinstance(value[0], Struct))


def lines(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values, one below the other."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        print(f"{name:{width}}  {text}")


def rows_of(rows: Sequence[Struct]) -> None:
    """A table of structs: the columns that say anything of any row."""
    if not rows:
        return
    names = {field.encode_name: field.name for field in _known(rows[0])}
    chosen = COLUMNS.get(type(rows[0]).__name__, tuple(names))
    table = {name: [getattr(row, names[name]) for row in rows] for name in chosen}
    said = [name for name, column in table.items() if any(one not in (None, []) for one in column)]
    print_table(said, [[cell(name, table[name][at]) for name in said] for at in range(len(rows))])


def _sent(value: Sent) -> None:
    again = ", sent before" if value.duplicate else ""
    print(f"{value.message}: {value.total} {'copy' if value.total == 1 else 'copies'}{again}")
    if not value.total:
        print("  nobody is addressed by it: no copy was made")
    for copy in value.deliveries:
        where = f"behind {copy.depth}" if copy.depth else "next in line"
        waits = f", {where} ({copy.transport})" if copy.queued else ""
        print(f"  {copy.delivery}  {copy.to}  {copy.state}{waits}")
    if value.total > len(value.deliveries):
        print(f"  and {value.total - len(value.deliveries)} more")


def deliveries(found: Sequence[Delivery], *, held: bool) -> None:
    """Mail, to be read; what is held says how it is acked."""
    if not found:
        print("No mail.")
    for number, one in enumerate(found):
        if number:
            print()
        facts = [f"from {one.from_}", f"to {one.to}", instant(one.sent_at)]
        facts += [one.kind] * (one.kind != "message")
        facts += [f"priority {one.priority}"] * (one.priority != 50)
        facts += [f"attempt {one.attempt} of {one.max_attempts}"] * (one.attempt > 1)
        facts += [f"answers {one.reply_to}"] * (one.reply_to is not None)
        print(f"{one.message}: {safe(', '.join(facts))}")
        print(body(one.body))
        if held:
            print(f"ack it with: postroom mail ack {one.delivery} {one.claim}")


def _trace(value: Trace) -> None:
    to = value.to if isinstance(value.to, str) else ", ".join(value.to)
    lines(
        [
            ("message", value.message),
            ("from", safe(value.from_)),
            ("to", safe(to)),
            ("kind", safe(value.kind)),
            ("priority", str(value.priority)),
            ("sent_at", instant(value.sent_at)),
        ]
    )
    for one in value.deliveries:
        print(f"{one.delivery} in {one.mailbox}: {one.state}{_tries(one)}")
        for step in one.history:
            said = [step.presence, step.reason, step.note]
            if step.count is not None and step.count > 1:
                said.append(f"{step.count} times")
            facts = " ".join(safe(text) for text in said if text)
            print(f"  {instant(step.at)}  {step.event:9}  {facts}".rstrip())
    if value.next is not None:
        print(f"more deliveries: --after {value.next}")


def _tries(one: Traced) -> str:
    error = f" ({safe(one.last_error)})" if one.last_error else ""
    return f", {one.claims} claims, {one.failures} failures{error}" if one.failures else ""


def _dispatch(value: Dispatch) -> None:
    pairs = [(field.encode_name, getattr(value, field.name)) for field in _known(value)]
    lines(
        [
            (name, cell(name, one))
            for name, one in pairs
            if name != "attempts" and one not in (None, UNSET)
        ]
    )
    rows_of(value.attempts)


WORDS: Final[dict[type[Answer], Callable[[Any], None]]] = {
    Sent: _sent,
    Trace: _trace,
    Dispatch: _dispatch,
    Claimed: lambda value: deliveries(value.deliveries, held=True),
}
