"""The operations page lists the commands as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.command import reference
from clients.command.tree import command_of, operations

EMPTY = "<!-- made: commands -->\n<!-- end -->\n"


def test_the_page_is_fresh(checkout: Path) -> None:
    page = (checkout / reference.PAGE).read_text(encoding="utf-8")
    assert reference.fresh(page) == page


def test_the_page_has_every_command() -> None:
    page = reference.fresh(f"before\n{EMPTY}after\n")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    for name in operations():
        assert f"- `postroom {name.replace('.', ' ')}" in page


def test_a_command_is_told_in_a_line() -> None:
    assert reference.usage("group.join", command_of("group.join")) == (
        "`postroom group join GROUP [--label LABEL]`"
    )
    assert reference.usage("mail.nack", command_of("mail.nack")) == (
        "`postroom mail nack DELIVERY CLAIM [--delay-ms DURATION] [--reason REASON] [--no-blame]"
        " [--dead]`"
    )


def test_a_page_without_a_place_for_them_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        reference.fresh("nothing")


def test_it_is_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / reference.PAGE).write_text(EMPTY)
    assert reference.main(["--check"]) == 1
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0
