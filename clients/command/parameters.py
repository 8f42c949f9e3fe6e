"""The parameters that cyclopts is shown for the fields of a request.

Owns: names, help texts and converters of arguments. Knows nothing of the values' way to the wire.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from inspect import Parameter as Argument
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from msgspec import UNSET, Raw

from clients.command.durations import milliseconds, written
from clients.command.fields import Field, Kind, positional
from clients.command.words import FIELDS

NO_DEFAULT: Final = (msgspec.NODEFAULT, UNSET, None, False, True)


def arguments(fields: Sequence[Field], taken: Collection[str]) -> list[Argument]:
    """The parameters of a command with these fields; the flags in `taken` are somebody else's."""
    placed = positional(fields)
    found = [one for field in placed for one in _placed(field, field.flag in taken)]
    for field in fields:
        if field not in placed and field.flag not in taken:
            found.append(
                Argument(field.name, Argument.KEYWORD_ONLY, default=None, annotation=_hint(field))
            )
        if field.kind is Kind.BODY:
            found.append(_extra(f"{field.name}_json", f"{field.word} as JSON (`-`: stdin)", "JSON"))
        if field.from_file:
            found.append(
                _extra(f"{field.name}_file", f"{field.word} from a file (`-`: stdin)", "FILE")
            )
        if field.clearable:
            found.append(_switch(f"no_{field.name}", f"clear {field.word}"))
    return sorted(found, key=lambda one: one.kind)


def _placed(field: Field, taken: bool) -> list[Argument]:
    """A positional argument, which has its flag as well unless that is taken."""
    kind = Argument.POSITIONAL_ONLY if taken else Argument.POSITIONAL_OR_KEYWORD
    # What may come from a file can only be missed when that is known to be missing too.
    default = Argument.empty if field.required and not field.from_file else None
    return [Argument(field.name, kind, default=default, annotation=_hint(field, taken=taken))]


def _hint(field: Field, *, taken: bool = False) -> object:
    """The type of an argument and what is said of it."""
    said: dict[str, Any] = {
        "name": None if taken else field.flags,
        "help": _help(field),
        "negative": (),
    }
    match field.kind:
        case Kind.SWITCH:
            if field.default is True:
                said["negative"] = f"--no-{field.word}"
            return Annotated[bool | None, Parameter(**said)]
        case Kind.DURATION:
            return Annotated[int | None, Parameter(**said, converter=duration, metavar="DURATION")]
        case Kind.NUMBER:
            return Annotated[int | None, Parameter(**said)]
        case Kind.CHOICE:
            return Annotated[str | None, Parameter(**said, choices=field.choices)]
        case Kind.CHOICES | Kind.TEXTS:
            if field.default is UNSET:
                said["negative"] = f"--no-{field.word}"
            return Annotated[list[str] | None, Parameter(**said)]
        case Kind.JSON:
            return Annotated[str | None, Parameter(**said, metavar="JSON")]
        case _:
            return Annotated[str | None, Parameter(**said)]


def _help(field: Field) -> str:
    said = [FIELDS.get(field.name, "")]
    if field.kind is Kind.CHOICES:
        said.append(f"[{', '.join(field.choices)}]")
    if field.kind is Kind.WORD_OR_NUMBER:
        said.append(f"[{', '.join(field.choices)}, or a number]")
    default = field.default
    if not isinstance(default, Raw) and all(default is not none for none in NO_DEFAULT):
        shown = written(default) if field.kind is Kind.DURATION else default
        said.append(f"[default: {shown}]")
    return " ".join(filter(None, said))


def _extra(name: str, text: str, metavar: str) -> Argument:
    said = Parameter(name=_flag(name), help=text, metavar=metavar)
    return Argument(
        name, Argument.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, said]
    )


def _switch(name: str, text: str) -> Argument:
    said = Parameter(name=_flag(name), help=text, negative=())
    return Argument(name, Argument.KEYWORD_ONLY, default=False, annotation=Annotated[bool, said])


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def duration(_: object, tokens: Sequence[Any]) -> int:
    """Read a duration; a plain number is milliseconds, as on the wire."""
    return milliseconds(tokens[0].value)


def seconds(_: object, tokens: Sequence[Any]) -> int:
    """Read a duration whose flag has no unit in its name: a plain number is seconds."""
    return milliseconds(tokens[0].value, "s")
