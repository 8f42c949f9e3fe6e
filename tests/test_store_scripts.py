"""Migration files: names and pairs, how they fall into statements, what is refused in them."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest

from broker.store.scripts import MigrationRefused, read_scripts, split


def directory(folder: Path, *names: str) -> Path:
    """A directory with files of these names, each with one statement."""
    for name in names:
        (folder / name).write_text(f"-- {name}\nCREATE TABLE a (x);\n")
    return folder


def test_files_are_read_in_order_with_their_pair(tmp_path: Path) -> None:
    directory(tmp_path, "0002_b.sql", "0001_a.sql", "0001_a.down.sql", "0010_c.sql")
    directory(tmp_path, "0010_c.down.sql")
    (tmp_path / "0002_b.down.sql").write_text("-- nothing to take back\n")
    (tmp_path / "notes.txt").write_text("not a migration")
    scripts = read_scripts(tmp_path)
    assert [script.filename for script in scripts] == ["0001_a.sql", "0002_b.sql", "0010_c.sql"]
    assert scripts[0].up == scripts[0].down == ("CREATE TABLE a (x);",)
    assert scripts[1].down == ()
    assert scripts[0].sha256 == sha256((tmp_path / "0001_a.sql").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], "no migrations in .*: install the program again"),
        (["0001_a.sql"], "0001_a.down.sql is missing"),
        (["0001_a.down.sql"], "0001_a.down.sql takes back a migration that is not there"),
        (["one.sql", "one.down.sql"], "one.sql: give it a name of the form"),
        (["0001-A.sql", "0001-A.down.sql"], "0001-A.sql: give it a name of the form"),
    ],
)
def test_a_directory_that_does_not_add_up_is_refused(
    tmp_path: Path, names: list[str], complaint: str
) -> None:
    with pytest.raises(MigrationRefused, match=complaint):
        read_scripts(directory(tmp_path, *names))


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationRefused, match="no migrations in"):
        read_scripts(tmp_path / "gone")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    directory(tmp_path, "0001_a.sql", "0001_a.down.sql")
    (tmp_path / "0001_a.sql").write_bytes(b"\xff")
    with pytest.raises(MigrationRefused, match=r"0001_a\.sql cannot be read"):
        read_scripts(tmp_path)


def test_an_empty_migration_is_refused(tmp_path: Path) -> None:
    directory(tmp_path, "0001_a.sql", "0001_a.down.sql")
    (tmp_path / "0001_a.sql").write_text("-- later\n")
    with pytest.raises(MigrationRefused, match=r"0001_a\.sql: has no statement"):
        read_scripts(tmp_path)


def test_only_a_semicolon_outside_strings_comments_and_triggers_ends_a_statement() -> None:
    text = """
    -- first; of all
    CREATE TABLE a (x DEFAULT 'a;b', "c;d");  -- and; so; on
    /* between;
       them */
    CREATE TRIGGER t AFTER INSERT ON a BEGIN
        UPDATE a SET x = CASE WHEN x IS NULL THEN 1 ELSE 2 END;
        DELETE FROM a WHERE x = ';';
    END;
    INSERT INTO a (x) VALUES (1);
    -- last; of all"""
    statements = split("0001_a.sql", text)
    assert [statement.split("(")[0].split("\n")[0] for statement in statements] == [
        "CREATE TABLE a ",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN",
        "INSERT INTO a ",
    ]
    connection = sqlite3.connect(":memory:")
    try:
        for statement in statements:
            connection.execute(statement)
        assert connection.execute("SELECT x FROM a").fetchall() == [(2,)]
    finally:
        connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN",
        "begin immediate",
        "COMMIT",
        "END TRANSACTION",
        "ROLLBACK",
        "ROLLBACK TO a",
        "SAVEPOINT a",
        "RELEASE a",
        "PRAGMA foreign_keys = ON",
        "Pragma user_version = 3",
        "ATTACH 'other.db' AS other",
        "DETACH other",
        "VACUUM",
        "-- a comment first\n  /* and another */ COMMIT",
        "\ufeffCOMMIT",
        "",
    ],
)
def test_what_would_break_the_transaction_is_refused(statement: str) -> None:
    text = f"CREATE TABLE a (x);\n{statement};\nCREATE TABLE b (x);\n"
    with pytest.raises(MigrationRefused, match=r"0001_a\.sql: a migration may not say"):
        split("0001_a.sql", text)


def test_words_that_only_begin_alike_are_fine() -> None:
    assert len(split("0001_a.sql", "REPLACE INTO a VALUES (1);\nANALYZE;\nREINDEX a;")) == 3


@pytest.mark.parametrize(
    "text", ["CREATE TABLE a (x)", "CREATE TABLE a (x);\nINSERT", "SELECT 'a;", "/* open; "]
)
def test_a_statement_without_its_end_is_refused(text: str) -> None:
    with pytest.raises(MigrationRefused, match="does not end with a semicolon"):
        split("0001_a.sql", text)
