"""Settings: every name, its default and the reason for it; where they are read and checked.

Owns: the frozen `Settings` and the rules between them. Knows nothing of what uses them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
KIB: Final = 1_024
MIB: Final = 1_024 * KIB

FRAME_MARGIN: Final = 64 * KIB
"""What a frame needs besides two bodies: names, meta, a receipt's or a result's own fields."""


class ConfigError(Exception):
    """A setting that does not exist or cannot be: the start is refused."""


@dataclass(frozen=True, slots=True)
class Mail:
    """Queues."""

    lease_ms: int = 30 * SECOND  # long enough to start on a mail; `mail.extend` for real work
    backoff_ms: int = 5 * SECOND  # doubles with each failure
    backoff_max_ms: int = 5 * MINUTE  # a worker that is mended is tried within minutes
    max_attempts: int = 5  # about a quarter of an hour of retries, then a person looks
    max_claims: int = 20  # ends a crash loop, whatever its cause
    ttl_ms: int = 7 * DAY  # a weekend and a holiday
    info_ttl_ms: int = HOUR  # news is stale after that
    retention_ms: int = 7 * DAY  # how long finished mail can be traced
    max_depth: int = 100_000  # a mailbox that nobody drains must not fill the disk
    dedupe_ms: int = DAY  # a sender that retries for longer has other problems


@dataclass(frozen=True, slots=True)
class Presence:
    """Connections and the leases behind them."""

    lease_ms: int = 90 * SECOND  # a restart of a host's daemon fits in it
    ping_ms: int = 20 * SECOND  # under the idle time-outs of common proxies
    pong_ms: int = 45 * SECOND  # two pings lost
    hello_ms: int = 5 * SECOND


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Work for exactly one worker."""

    lease_ms: int = 60 * SECOND
    max_attempts: int = 5


@dataclass(frozen=True, slots=True)
class Delegation:
    """The ledger of who asked whom."""

    stuck_ms: int = 10 * MINUTE
    deadline_ms: int = 6 * HOUR
    sweep_ms: int = 30 * SECOND  # only a safety net: the next due time wakes the sweeper


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may ask of the broker."""

    body: int = 256 * KIB
    frame: int = MIB
    outbox: int = 4 * MIB
    send_rate: int = 2_000
    connections: int = 10_000
    unauthenticated: int = 256


@dataclass(frozen=True, slots=True)
class Store:
    """How durable a reply is."""

    synchronous: Literal["full", "normal"] = "full"


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them, grouped by the first part of the name."""

    mail: Mail = field(default_factory=Mail)
    presence: Presence = field(default_factory=Presence)
    dispatch: Dispatch = field(default_factory=Dispatch)
    delegation: Delegation = field(default_factory=Delegation)
    limits: Limits = field(default_factory=Limits)
    store: Store = field(default_factory=Store)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Settings:
        """Settings from names such as `mail.lease_ms`; what is not given keeps its default."""
        groups: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            group, _, key = name.partition(".")
            groups.setdefault(group, {})[key] = _checked(name, value)
        settings = cls()
        made = {
            group: replace(getattr(settings, group), **changes) for group, changes in groups.items()
        }
        settings = replace(settings, **made)
        _check_together(settings)
        return settings

    def names(self) -> dict[str, Any]:
        """Every setting by its full name."""
        return {
            f"{group.name}.{key.name}": getattr(getattr(self, group.name), key.name)
            for group in fields(self)
            for key in fields(getattr(self, group.name))
        }

    def changed(self) -> dict[str, Any]:
        """Those that are not as usual."""
        usual = DEFAULTS.names()
        return {name: value for name, value in self.names().items() if value != usual[name]}


DEFAULTS: Final = Settings()
MAY_BE_ZERO: Final = frozenset({"limits.send_rate"})
LARGEST: Final = 10**15


def _checked(name: str, value: Any) -> Any:
    known = DEFAULTS.names()
    if name not in known:
        meant = "".join(f" (is it {one}?)" for one in get_close_matches(name, known, n=1))
        raise ConfigError(f"unknown setting {name!r}{meant}; known are {', '.join(sorted(known))}")
    if isinstance(known[name], str):
        if value not in ("full", "normal"):
            raise ConfigError(f"{name} must be full or normal, not {value!r}")
        return value
    if isinstance(value, str):
        try:
            value = int(value.replace("_", ""))
        except ValueError:
            raise ConfigError(f"{name} must be an integer, not {value!r}") from None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{name} must be an integer, not {value!r}")
    least = 0 if name in MAY_BE_ZERO else 1
    if not least <= value <= LARGEST:
        raise ConfigError(f"{name} must be from {least} to {LARGEST}, not {value}")
    return value


def _check_together(settings: Settings) -> None:
    mail, limits = settings.mail, settings.limits
    rules = (
        (
            mail.dedupe_ms <= mail.retention_ms,
            "mail.dedupe_ms may not be over mail.retention_ms: a key needs its message",
        ),
        (
            limits.frame >= 2 * limits.body + FRAME_MARGIN,
            f"limits.frame may not be under 2 x limits.body + {FRAME_MARGIN}",
        ),
        (mail.max_attempts <= 100, "mail.max_attempts must be from 1 to 100"),
        (settings.dispatch.max_attempts <= 100, "dispatch.max_attempts must be from 1 to 100"),
    )
    for holds, why in rules:
        if not holds:
            raise ConfigError(why)


def load(config: Path | None, pairs: list[str]) -> Settings:
    """Settings from a TOML file and `NAME=VALUE` pairs, which win over it."""
    values: dict[str, Any] = {}
    if config is not None:
        values.update(_read_file(config))
        for name, value in values.items():
            try:
                _checked(name, value)
            except ConfigError as error:
                raise ConfigError(f"{config}: {error}") from None
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"--set wants NAME=VALUE, not {pair!r}")
        values[name.strip()] = value.strip()
    return Settings.of(values)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    values: dict[str, Any] = {}
    for group, entries in tree.items():
        if not isinstance(entries, dict):
            values[group] = entries
            continue
        values.update({f"{group}.{key}": value for key, value in entries.items()})
    return values
