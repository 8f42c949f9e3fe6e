"""Dispatch files of older programs: what is not in the database is kept there as failed.

Owns: what such a file may look like, and what of it becomes a row. Files are only read. What they
tell of is a record from then on, never runnable work: whoever wants it done creates it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw

from broker.areas.directory.named import mesh_id
from broker.areas.dispatch.identity import CONTROL, hash_of, key_of
from broker.core.house import DEFAULT_MESH
from broker.doctor import Case, Database, Finding, Repair
from broker.store.queries import Queries

sql = Queries(__file__)
FIND = sql.take("find")
FIND_TASK = sql.take("find_task")
ADD_PROMPT = sql.take("add_prompt")
ADD = sql.take("add")
ADD_CONTEXT = sql.take("add_context")
ADD_ATTEMPT = sql.take("add_attempt")
sql.close()

MOST_BYTES: Final = 8 * 1_024 * 1_024  # a prompt and a context of the usual limit, several times
MOST_CONTEXT: Final = 256 * 1_024  # what an answer that shows it has room for
MOST_NAME: Final = 128
UNKNOWN: Final = "unknown"

IDENTITY: Final = ("agent_type", "dag_task_id", "parent_session_id")
TOLD: Final = ("status", "reason", "error")


@dataclass(frozen=True, slots=True)
class Paper:
    """What a file says of a dispatch."""

    name: str
    mesh: str
    key: str | None
    """The key of its identity; None if that is not whole, or the file contradicts itself."""
    stand_in: str
    """What stands for the key of one that has none: the file's own hash, in a form of no key."""
    parent_session_id: str
    agent_type: str
    dag_task_id: str
    prompt: bytes
    context: bytes | None
    error: str
    created_at: int


class Unreadable(Exception):  # noqa: N818 - the file's fault, told to a person
    """A file is no dispatch; the text says why."""


def missing(case: Case) -> Iterator[Finding]:
    """Files whose dispatches are not in the database."""
    folder = case.import_dispatches
    if folder is None:
        return
    if not folder.is_dir():
        yield Finding(str(folder), "there is no such folder")
        return
    for path in sorted(folder.glob("*.json")):
        try:
            paper = read(path, case.now)
        except Unreadable as error:
            yield Finding(path.name, str(error))
            continue
        mesh = mesh_id(case.database, paper.mesh)
        if mesh is None:
            yield Finding(path.name, f"there is no mesh {paper.mesh[:MOST_NAME]!r}")
        elif _id(case.database, mesh, paper) is None:
            yield Finding(path.name, "is not in the database", _import(mesh, paper, case.now))


def read(path: Path, now: int) -> Paper:
    """A file as the dispatch that it tells of."""
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise Unreadable(f"cannot be read: {error}") from error
    if size > MOST_BYTES:
        raise Unreadable(f"has more than {MOST_BYTES} bytes")
    try:
        content.decode()
        msgspec.json.decode(content)
        fields = msgspec.json.decode(content, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"is no JSON object: {error}") from error
    if not fields.keys() & {*IDENTITY, "prompt", "dispatch_key"}:
        raise Unreadable("tells of no dispatch")
    prompt = (_text(fields, "prompt") or "").encode()
    agent_type, dag_task_id, parent_session_id = (_name(fields, field) for field in IDENTITY)
    key = None
    if prompt and agent_type and dag_task_id and parent_session_id:
        key = key_of(agent_type, dag_task_id, hash_of(prompt), parent_session_id)
        if _text(fields, "dispatch_key") not in (None, key) or _text(
            fields, "prompt_sha256"
        ) not in (None, hash_of(prompt)):
            key = None
    told = (f"{field}: {text[:MOST_NAME]}" for field in TOLD if (text := _text(fields, field)))
    at = _number(fields, "created_at")
    context = content if key is None else bytes(fields.get("context", b"null"))
    return Paper(
        name=path.name,
        mesh=_text(fields, "mesh") or DEFAULT_MESH,
        key=key,
        stand_in=f"imported:{sha256(content).hexdigest()}",
        parent_session_id=parent_session_id or UNKNOWN,
        agent_type=agent_type or UNKNOWN,
        dag_task_id=dag_task_id or UNKNOWN,
        prompt=prompt,
        context=None if context == b"null" or len(context) > MOST_CONTEXT else context,
        error="; ".join((f"imported from {path.name[:MOST_NAME]}", *told)),
        created_at=at if at is not None and 0 < at < now else now,
    )


def _import(mesh: int, paper: Paper, now: int) -> Repair:
    """Keep it as one failed attempt. If its task has another prompt here, it gets no identity."""

    def do(database: Database) -> None:
        if _id(database, mesh, paper) is not None:
            return
        key, parent = paper.key, paper.parent_session_id
        task = (mesh, parent, paper.agent_type, paper.dag_task_id)
        if key is None or database.one(FIND_TASK, task) is not None:
            # No client can name this: U+001F is allowed in no field.
            key, parent = paper.stand_in, f"{parent}\x1f{paper.stand_in}"
        prompt_sha256 = hash_of(paper.prompt)
        database.run(ADD_PROMPT, (prompt_sha256, paper.prompt, now))
        database.run(
            ADD,
            (
                mesh,
                key,
                parent,
                paper.agent_type,
                paper.dag_task_id,
                prompt_sha256,
                paper.created_at,
                now,
            ),
        )
        id = _id(database, mesh, paper)
        database.run(
            ADD_CONTEXT,
            (
                id,
                paper.parent_session_id,
                paper.agent_type,
                paper.dag_task_id,
                paper.mesh,
                paper.context,
                now,
            ),
        )
        database.run(ADD_ATTEMPT, (id, paper.error, paper.created_at, now))

    return Repair("import it as failed", do)


def _id(database: Database, mesh: int, paper: Paper) -> int | None:
    """The dispatch that this file tells of, if it is there."""
    row = database.one(FIND, (mesh, paper.key, paper.stand_in))
    return None if row is None else int(row[0])


def _text(fields: dict[str, Raw], field: str) -> str | None:
    """A field that is a string; None for one that is something else, or is not there."""
    value = msgspec.json.decode(fields.get(field, b"null"))
    return value if isinstance(value, str) else None


def _name(fields: dict[str, Raw], field: str) -> str | None:
    """A field that may stand in an identity."""
    text = _text(fields, field)
    good = text and len(text) <= MOST_NAME and CONTROL.search(text) is None
    return text if good else None


def _number(fields: dict[str, Raw], field: str) -> int | None:
    value = msgspec.json.decode(fields.get(field, b"null"))
    return value if isinstance(value, int) and not isinstance(value, bool) else None
