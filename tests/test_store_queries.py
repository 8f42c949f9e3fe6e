"""Named SQL: what a file may hold, and that nothing in it is unknown, unused or there twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from broker.store.queries import Queries, QueryError


def module(folder: Path, sql: str) -> str:
    """A module with that SQL beside it; what `__file__` says in it."""
    (folder / "mail.sql").write_text(sql, encoding="utf-8")
    return str(folder / "mail.py")


def test_statements_are_taken_by_name(tmp_path: Path) -> None:
    sql = Queries(
        module(
            tmp_path,
            "-- Everything about mail.\n\n"
            "-- name: insert_message\nINSERT INTO messages (id)\nVALUES (?);\n\n"
            "-- name: count_messages\nSELECT count(*) FROM messages\n",
        )
    )
    assert sql.take("insert_message") == "INSERT INTO messages (id) VALUES (?)"
    assert sql.take("count_messages") == "SELECT count(*) FROM messages"
    sql.close()


def test_comments_and_layout_are_not_handed_to_sqlite(tmp_path: Path) -> None:
    sql = Queries(
        module(
            tmp_path,
            "-- name: ready\n"
            "-- Only what nobody holds.\n"
            "SELECT 1,  -- one; still the same statement\n"
            "       /* two,\n lines */ 2\n",
        )
    )
    assert sql.take("ready") == "SELECT 1, 2"


@pytest.mark.parametrize(
    "quoted",
    ["'a -- b; c  d'", "'it''s /* not */ one'", '"a;  b"', "`a--b`", "[a ; b]", "'two\nlines'"],
)
def test_quoted_text_stays_as_it_is(tmp_path: Path, quoted: str) -> None:
    sql = Queries(module(tmp_path, f"-- name: quoted\nSELECT {quoted}\n  AS x;\n"))
    assert sql.take("quoted") == f"SELECT {quoted} AS x"


def test_what_is_shortened_means_the_same(tmp_path: Path) -> None:
    text = "SELECT 'a;--b' -- note\n , 7 /* seven */ , 'it''s';"
    sql = Queries(module(tmp_path, f"-- name: same\n{text}\n"))
    connection = sqlite3.connect(":memory:")
    try:
        assert connection.execute(sql.take("same")).fetchall() == [("a;--b", 7, "it's")]
    finally:
        connection.close()


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    sql = Queries(module(tmp_path, "-- name: one\nSELECT 1;\n"))
    with pytest.raises(QueryError, match=r"mail\.sql: no statement is named 'two'"):
        sql.take("two")


def test_a_statement_that_nobody_takes_is_refused(tmp_path: Path) -> None:
    text = "-- name: b\nSELECT 1;\n-- name: a\nSELECT 2;\n-- name: c\nSELECT 3;\n"
    sql = Queries(module(tmp_path, text))
    sql.take("c")
    with pytest.raises(QueryError, match=r"mail\.sql: nobody takes a, b$"):
        sql.close()


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n", r":3: 'a' is there already"),
        ("SELECT 0;\n-- name: a\nSELECT 1;\n", "SQL before the first name"),
        ("SELECT 0;\n", "SQL before the first name"),
        ("-- name: a\n-- name: b\nSELECT 1;\n", "'a' has no statement"),
        ("-- name: a\n;\n", "'a' has no statement"),
        ("-- name: a\nSELECT 1; SELECT 2;\n", "'a' has more than one statement"),
        ("-- name: a\nSELECT 1;; SELECT 2\n", "'a' has more than one statement"),
        ("-- name:a\nSELECT 1;\n", ":1: not of the form"),
        ("--name: a\nSELECT 1;\n", ":1: not of the form"),
        ("-- name: an-a\nSELECT 1;\n", ":1: not of the form"),
        ("-- name:\nSELECT 1;\n", ":1: not of the form"),
    ],
)
def test_a_file_that_is_not_of_the_form_is_refused(
    tmp_path: Path, sql: str, complaint: str
) -> None:
    with pytest.raises(QueryError, match=complaint):
        Queries(module(tmp_path, sql))


def test_a_module_without_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"mail\.sql"):
        Queries(str(tmp_path / "mail.py"))


def test_an_empty_file_has_no_statements(tmp_path: Path) -> None:
    Queries(module(tmp_path, "-- Nothing yet.\n")).close()
