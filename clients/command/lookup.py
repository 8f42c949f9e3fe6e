"""Whom a command connects to and as whom: url, mesh, member and token, each looked up by itself.

Owns: the order of places (flags, environment, profile, this machine's data directory) and the
format of the profile. Opens no connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from clients.command import stdin
from clients.command.failures import NotReached, WrongUsage

KEYS: Final = ("url", "mesh", "member", "token")
DEFAULT_MESH: Final = "default"
OWNER: Final = "owner"
OWN_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says of the connection."""

    url: str | None = None
    mesh: str | None = None
    member: str | None = None
    token_file: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that a connection needs."""

    url: str
    mesh: str
    member: str
    token: str
    token_from: str
    """Where the token was found, for a refusal that nobody understands otherwise."""


def look_up(flags: Flags, environment: Mapping[str, str] = os.environ) -> Account:
    """Find each of the four, or say which cannot be found."""
    for name in Flags.__slots__:
        if getattr(flags, name) == "":
            flag = "as" if name == "member" else name.replace("_", "-")
            raise WrongUsage(f"--{flag}: it is empty")
    profile = _profile(environment)
    directory = data_directory(environment)

    def found(name: str, flag: str | None) -> str | None:
        return flag or environment.get(f"POSTROOM_{name.upper()}") or profile.get(name)

    url = found("url", flags.url)
    own_url = _line(directory / "broker.url")
    if url is None and own_url is None:
        raise NotReached(
            "no broker is known here: start one (`postroom serve`), or name one with --url, "
            "POSTROOM_URL or the profile"
        )
    url = url or own_url or ""
    host = _host(url)
    member = found("member", flags.member)
    token, token_from = _given_token(flags, environment, profile)
    if token is None and (url == own_url or host in OWN_HOSTS):
        path = directory / "owner.token"
        token, token_from = _line(path), str(path)
        # Only who holds the owner's token is the owner by default.
        member = member or (OWNER if token else None)
    if token is None:
        raise WrongUsage(f"no token for {url}: --token-file, POSTROOM_TOKEN or the profile says it")
    if member is None:
        raise WrongUsage("whose token is this? --as, POSTROOM_MEMBER or the profile says it")
    return Account(url, found("mesh", flags.mesh) or DEFAULT_MESH, member, token, token_from)


def data_directory(environment: Mapping[str, str]) -> Path:
    """Where a broker on this machine keeps its data unless it is told otherwise."""
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "postroom"


def profile_path(environment: Mapping[str, str]) -> Path:
    """Where the profile lies."""
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "postroom" / "profile.toml"


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise WrongUsage(f"{url!r} is no WebSocket address, like ws://127.0.0.1:7450/v1")


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    path = profile_path(environment)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WrongUsage(f"{path}: {error}") from error
    import tomllib

    try:
        given = tomllib.loads(text)
    except ValueError as error:
        raise WrongUsage(f"{path}: {error}") from error
    for key, value in given.items():
        if key not in KEYS:
            raise WrongUsage(f"{path}: {key!r} is not one of {', '.join(KEYS)}")
        if not isinstance(value, str):
            raise WrongUsage(f"{path}: {key} is a string")
    return given


def _given_token(
    flags: Flags, environment: Mapping[str, str], profile: Mapping[str, str]
) -> tuple[str | None, str]:
    if flags.token is not None and flags.token_file is not None:
        raise WrongUsage("--token and --token-file are two ways to say one thing")
    if flags.token is not None:
        return flags.token, "--token"
    if flags.token_file == "-":  # noqa: S105 - the name of standard input
        return stdin.read_line().decode(errors="replace").strip(), "standard input"
    if flags.token_file is not None:
        try:
            return Path(flags.token_file).read_text(encoding="utf-8").strip(), flags.token_file
        except (OSError, ValueError) as error:
            raise WrongUsage(f"--token-file: {error}") from error
    if token := environment.get("POSTROOM_TOKEN"):
        return token, "POSTROOM_TOKEN"
    return profile.get("token"), str(profile_path(environment))


def _line(path: Path) -> str | None:
    """What a file of the data directory says, if we may read it."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None
