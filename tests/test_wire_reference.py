"""The protocol page says what the wire structs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.wire import CODES, EVENTS, OPERATIONS, reference

EMPTY = "".join(
    f"<!-- made: {name} -->\n<!-- end -->\n"
    for name in ("operations", "events", "objects", "errors")
)


def test_the_page_is_fresh(checkout: Path) -> None:
    page = (checkout / reference.PAGE).read_text(encoding="utf-8")
    assert reference.fresh(page) == page


def test_the_page_has_everything(checkout: Path) -> None:
    page = (checkout / reference.PAGE).read_text(encoding="utf-8")
    for op, request in OPERATIONS.items():
        assert f"\n### Operation `{op}`\n\n{request.__doc__}\n" in page
    for name in EVENTS:
        assert f"\n### Event `{name}`\n" in page
    for code in CODES:
        assert f"| `{code}` |" in page


def test_every_link_leads_somewhere(checkout: Path) -> None:
    page = (checkout / reference.PAGE).read_text(encoding="utf-8")
    headings = [
        "".join(c for c in line.lstrip("#").strip().lower().replace(" ", "-") if c not in "`.")
        for line in page.splitlines()
        if line.startswith("#")
    ]
    links = {part.split(")")[0] for part in page.split("](#")[1:]}
    assert links <= set(headings)
    assert all(headings.count(link) == 1 for link in links)


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        reference.fresh(EMPTY.replace("errors", "mistakes"))


def test_a_stale_page_is_told_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(EMPTY, encoding="utf-8")
    monkeypatch.setattr(reference, "PAGE", page)
    assert reference.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0
    assert reference.main([]) == 2


def test_a_field_is_told_in_words() -> None:
    made = reference.sections()
    for row in (
        "| `to` | string or list of string | **required** |",
        "| `priority` | `critical`, `info`, `task` or integer, 0 to 255 | `50` |",
        "| `summary` | text of at most 4 KiB or null |  |",
        "| `outputs` | list of [Content](#content) | `[]` |",
        "| `group` | `@group` or `#topic` | **required** |",
    ):
        assert row in made["operations"]
    for row in (
        "| `outcome` | any JSON value | may be missing |",
        "| `next` | string or null |  |",
        "| `meta` | object or null |  |",
    ):
        assert row in made["objects"]
