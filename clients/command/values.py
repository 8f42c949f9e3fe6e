"""What was given on the command line, as the request that goes out.

Owns: reading texts, files and JSON. What was not given is left to the broker's defaults, and what
is out of bounds is for the broker to refuse: its bounds are the ones that count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_origin

import msgspec
from msgspec import Raw

from broker.wire import Request
from clients.command import stdin
from clients.command.failures import WrongUsage
from clients.command.fields import Field, Kind

STANDARD_INPUT: Final = "-"


def request_of(struct: type[Request], fields: Sequence[Field], given: Mapping[str, Any]) -> Request:
    """The request that the arguments make."""
    values: dict[str, Any] = {}
    for field in fields:
        value = _value(field, given)
        if value is not None:
            values[field.name] = value
        elif given.get(f"no_{field.name}"):
            values[field.name] = None
        elif field.required:
            raise WrongUsage(f"{field.word} is missing")
    try:
        return struct(**values)
    except (TypeError, ValueError) as error:
        raise WrongUsage(str(error)) from error


def _value(field: Field, given: Mapping[str, Any]) -> object:
    value = given.get(field.name)
    if field.kind is Kind.BODY:
        return _body(field, given)
    if field.kind is Kind.LONG_TEXT:
        return text_of(field.name, given)
    if value is None:
        return None
    match field.kind:
        case Kind.JSON:
            raw = _json(field.flag, value)
            return raw if Raw in field.alternatives else _decoded(field, raw)
        case Kind.CHOICES:
            return chosen(field.flags[0], value, field.choices)
        case Kind.TARGETS:
            # An address has no comma: several of them may stand in one argument.
            several = value.split(",")
            return several if len(several) > 1 else several[0]
        case Kind.WORD_OR_NUMBER:
            return int(value) if value.removeprefix("-").isdecimal() else value
        case _:
            return value


def _body(field: Field, given: Mapping[str, Any]) -> Raw | None:
    text = text_of(field.name, given)
    source = given.get(f"{field.name}_json")
    if source is None:
        return None if text is None else Raw(msgspec.json.encode(text))
    if text is not None:
        raise WrongUsage(f"{field.flag}-json says what is given already")
    return _json(f"{field.flag}-json", source)


def text_of(name: str, given: Mapping[str, Any]) -> str | None:
    """A text from its argument, a file, or standard input."""
    value: str | None = given.get(name)
    path: str | None = given.get(f"{name}_file")
    if value is not None and path is not None:
        raise WrongUsage(f"--{name}-file says what is given already")
    if path is None and value != STANDARD_INPUT:
        return value
    try:
        here = path is None or path == STANDARD_INPUT
        data = stdin.read_all() if here else Path(path or "").read_bytes()
        return data.decode()
    except (OSError, ValueError) as error:
        raise WrongUsage(f"--{name}-file: {error}") from error


def _json(flag: str, source: str) -> Raw:
    data = stdin.read_all() if source == STANDARD_INPUT else source.encode()
    try:
        data.decode()
        # As it stands: what Python has no number for is JSON all the same.
        msgspec.json.decode(data, type=Raw)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise WrongUsage(f"{flag}: {error}") from error
    except RecursionError:
        return Raw(data.strip())  # how deep is too deep is for the broker to say
    return Raw(data.strip())


def _decoded(field: Field, raw: Raw) -> object:
    (kind,) = [one for one in field.alternatives if get_origin(one) is list]
    try:
        value: object = msgspec.json.decode(bytes(raw), type=kind)
    except msgspec.DecodeError as error:
        raise WrongUsage(f"{field.flag}: {error}") from error
    return value


def chosen(flag: str, given: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Several words of a list of words, each given by itself or with commas between."""
    words = [word for one in given for word in one.split(",")]
    for word in words:
        if word not in choices:
            raise WrongUsage(f"{flag}: {word!r} is not one of {', '.join(choices)}")
    return words
