"""The README leads from nothing to a first message, as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from command_rig import Here, running

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
URL = "ws://127.0.0.1:7450/v1"


def blocks(checkout: Path, language: str) -> list[str]:
    """The blocks of a language, in order."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    return [code for kind, code in BLOCK.findall(text) if kind == language]


def commands(block: str) -> list[list[str]]:
    """The command lines of a block that are ours."""
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["postroom"]]


def test_its_first_message_arrives(checkout: Path, tmp_path: Path) -> None:
    steps = [found for block in blocks(checkout, "sh") if (found := commands(block))]
    (added, sent, listed), (received,), (asked, answered) = steps
    (program,) = blocks(checkout, "python")
    with running(tmp_path) as here:
        done = here.run(*added)
        token = dict(line.split() for line in done.out.splitlines())["token"]
        bob = here.as_member("bob", token)
        assert here.run(*sent).code == 0
        assert here.run(*listed).out == "Nobody is online.\n"
        assert bob.run(*received).out.splitlines()[-1] == "hi"
        url = (here.data / "broker.url").read_text().strip()
        assert talk(here, bob, program.replace(URL, url), asked, answered) == (
            "thanks for 'how are you?'",
            "owner says how are you?",
        )


def talk(
    here: Here, bob: Here, program: str, asked: list[str], answered: list[str]
) -> tuple[str, str]:
    """Ask the program something; its answer, and what it has printed."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        env=bob.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert here.run(*asked).code == 0
        answer = here.run(*answered).out.splitlines()[-1]
        assert "service" in here.run("peer", "list").out
        assert process.stdout is not None
        line = process.stdout.readline().rstrip()
        process.terminate()
    return answer, line


def test_its_links_lead_somewhere(checkout: Path) -> None:
    text = (checkout / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    assert [link for link in links if not (checkout / link).exists()] == []
