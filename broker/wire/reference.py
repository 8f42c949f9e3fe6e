"""The reference tables of the protocol page, made from the wire structs so that they can't drift.

Owns: how a struct is told to people. `python -m broker.wire.reference --write` puts the tables
between the markers of `docs/protocol.md`, `--check` fails if they are not what stands there.
Nothing of the running broker needs this.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, inspect
from msgspec.inspect import Field, StructType

from broker.wire import fields
from broker.wire.errors import CODES, MEANINGS, RETRYABLE
from broker.wire.operations import EVENTS, OPERATIONS

PAGE: Final = Path("docs/protocol.md")

_SECTION: Final = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def sections() -> dict[str, str]:
    """Make the text of every section by its name."""
    return {
        "operations": "\n".join(_operations()),
        "events": "\n".join(_events()),
        "objects": "\n".join(_objects()),
        "errors": "\n".join(_errors()),
    }


def fresh(page: str) -> str:
    """Put the tables between the markers of a page."""
    made = sections()
    found = {section[2] for section in _SECTION.finditer(page)}
    if found != made.keys():
        raise ValueError(f"the page marks {sorted(found)}, not {sorted(made)}")
    return _SECTION.sub(lambda section: f"{section[1]}{made[section[2]]}\n{section[3]}", page)


def _operations() -> Iterator[str]:
    for op, request in sorted(OPERATIONS.items()):
        yield f"### Operation `{op}`\n\n{request.__doc__}\n"
        yield from _given(_fields(request, without=("id",)))
        answer = request.Answer
        if answer.__struct_fields__:
            yield f"Answer: {_link(answer)}\n"
        else:
            yield "Answer: `{}`\n"


def _events() -> Iterator[str]:
    for name, event in sorted(EVENTS.items()):
        yield f"### Event `{name}`\n\n{event.__doc__}\n"
        yield from _told(event, _fields(event))


def _objects() -> Iterator[str]:
    for struct in sorted(_reached(), key=lambda struct: struct.__name__):
        yield f"### {struct.__name__}\n\n{struct.__doc__}\n"
        if struct.__struct_config__.forbid_unknown_fields:
            yield from _given(_fields(struct))
        else:
            yield from _told(struct, _fields(struct))


def _errors() -> Iterator[str]:
    yield "| code | may be sent again | meaning |\n|---|---|---|"
    for code in sorted(CODES):
        yield f"| `{code}` | {'yes' if code in RETRYABLE else ''} | {MEANINGS[code]} |"


def _reached() -> set[type[Any]]:
    """Find the structs that answers, events and requests are made of."""
    reached: set[type[Any]] = set()
    waiting: list[Any] = [inspect.type_info(request) for request in OPERATIONS.values()]
    waiting += [inspect.type_info(event) for event in EVENTS.values()]
    waiting += [inspect.type_info(request.Answer) for request in OPERATIONS.values()]
    tops = {*OPERATIONS.values(), *EVENTS.values()}
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, StructType):
            if kind.cls in reached:
                continue
            if kind.cls not in tops and kind.fields:
                reached.add(kind.cls)
            waiting += [field.type for field in kind.fields]
        elif isinstance(kind, inspect.UnionType):
            waiting += kind.types
        elif isinstance(kind, inspect.ListType):
            waiting.append(kind.item_type)
    return reached


def _fields(struct: type[Any], without: tuple[str, ...] = ()) -> list[Field]:
    kind = inspect.type_info(struct)
    assert isinstance(kind, StructType)
    return [field for field in kind.fields if field.name not in without]


def _given(rows: list[Field]) -> Iterator[str]:
    """Tell the fields that a client gives."""
    if rows:
        yield "| field | type | default |\n|---|---|---|"
        for row in rows:
            words = _worded(row.type, row.encode_name, row.default is None)
            yield f"| `{row.encode_name}` | {words} | {_default(row)} |"
        yield ""


def _told(struct: type[Any], rows: list[Field]) -> Iterator[str]:
    """Tell the fields that the broker gives."""
    omits = struct.__struct_config__.omit_defaults
    if rows:
        yield "| field | type | |\n|---|---|---|"
        for row in rows:
            # A default that is UNSET can't be seen here; only such a field has none and is optional
            unset = not row.required and row.default is NODEFAULT is row.default_factory
            omitted = unset or (omits and not row.required)
            words = _worded(row.type, row.encode_name, omitted)
            yield f"| `{row.encode_name}` | {words} | {'may be missing' if omitted else ''} |"
        yield ""


def _default(row: Field) -> str:
    if row.required:
        return "**required**"
    if row.default_factory is not NODEFAULT:
        return f"`{msgspec.json.encode(row.default_factory()).decode()}`"
    if row.default is NODEFAULT or row.default is None or row.default == fields.NULL:
        return ""
    return f"`{msgspec.json.encode(row.default).decode()}`"


def _worded(kind: inspect.Type, name: str, nullable: bool = False) -> str:
    """Tell a type in words. `nullable`: null means no more than a missing field."""
    match kind:
        case inspect.UnionType(types):
            rest = [each for each in types if not isinstance(each, inspect.NoneType)]
            words = " or ".join(_worded(each, name) for each in rest)
            return words if nullable or len(rest) == len(types) else f"{words} or null"
        case inspect.LiteralType(values):
            return ", ".join(f"`{value}`" for value in values)
        case inspect.ListType(item):
            return f"list of {_worded(item, name)}"
        case inspect.DictType(key, value):
            keys = "each of " if isinstance(key, inspect.LiteralType) else ""
            return f"object: {keys}{_worded(key, name)} to {_worded(value, name)}"
        case StructType(cls):
            return _link(cls)
        case inspect.RawType():
            return "object or null" if name == "meta" else "any JSON value"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"integer{_bounds(kind.ge, kind.le)}"
        case inspect.StrType():
            return _string(kind)
        case _:
            return "any"


def _string(kind: inspect.StrType) -> str:
    if kind.max_length == fields.MAX_TEXT_BYTES:
        return "text of at most 4 KiB"
    words = "string" if kind.pattern is None else fields.PATTERNS[kind.pattern][0]
    if kind.max_length is None:
        return f"{words}, not empty" if kind.min_length else words
    return f"{words}{_bounds(kind.min_length, kind.max_length)} characters"


def _bounds(least: int | None, most: int | None) -> str:
    if least is None:
        return "" if most is None else f", at most {most:,}"
    return f", at least {least:,}" if most is None else f", {least:,} to {most:,}"


def _link(struct: type[Any]) -> str:
    return f"[{struct.__name__}](#{struct.__name__.lower()})"


def main(arguments: list[str]) -> int:
    """Write or check the page."""
    page = PAGE.read_text(encoding="utf-8")
    made = fresh(page)
    if arguments == ["--write"]:
        PAGE.write_text(made, encoding="utf-8")
    elif arguments != ["--check"]:
        sys.stderr.write("usage: python -m broker.wire.reference --write | --check\n")
        return 2
    elif page != made:
        sys.stderr.write(f"{PAGE} is stale: python -m broker.wire.reference --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
