"""Migrations: what a database has had, what it gets next, and what is refused at the start."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.store.migrate import CHECKOUT, MigrationFailed, MigrationRefused, Migrations

FIRST, SECOND, THIRD = "0001_first.sql", "0002_second.sql", "0003_third.sql"
COLUMNS = "id INTEGER PRIMARY KEY, name TEXT NOT NULL"
# A table that others refer to is made anew: foreign keys would be in the way.
ANEW = """
CREATE TABLE made_anew ({columns});
INSERT INTO made_anew (id, name) SELECT id, name FROM parents;
DROP TABLE parents;
ALTER TABLE made_anew RENAME TO parents;
"""
FILES = {
    FIRST: (f"CREATE TABLE parents ({COLUMNS});\n", "DROP TABLE parents;\n"),
    SECOND: (
        "CREATE TABLE children (parent_id INTEGER NOT NULL REFERENCES parents (id));\n"
        "CREATE INDEX children_parent ON children (parent_id);\n",
        "DROP TABLE children;\n",
    ),
    THIRD: (ANEW.format(columns=f"{COLUMNS} UNIQUE"), ANEW.format(columns=COLUMNS)),
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with three migrations."""
    directory = tmp_path / "migrations"
    directory.mkdir()
    for name, (up, down) in FILES.items():
        put(directory, name, up, down)
    return directory


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A new database, as the broker opens it."""
    connection = sqlite3.connect(tmp_path / "postroom.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


def put(directory: Path, name: str, up: str, down: str = "-- nothing\n") -> None:
    """Write a migration and the file that takes it back."""
    (directory / name).write_text(up)
    (directory / name.replace(".sql", ".down.sql")).write_text(down)


def remove(directory: Path, name: str) -> None:
    """Take a migration out of the program."""
    (directory / name).unlink()
    (directory / name.replace(".sql", ".down.sql")).unlink()


def applied(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """The record."""
    rows = connection.execute("SELECT filename, applied_at FROM __migrations ORDER BY filename")
    return rows.fetchall()


def schema(connection: sqlite3.Connection) -> dict[str, str]:
    """Everything that the files have made, with its words; a rename leaves the name in quotes."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: sql.replace('"', "") for name, sql in rows if name != "sqlite_sequence"}


def states(directory: Path, connection: sqlite3.Connection) -> dict[str, str]:
    """What `migrate status` shows."""
    lines = Migrations.discover(directory).status(connection)
    return {line.filename: line.state for line in lines}


def refused_both_ways(migrations: Migrations, database: sqlite3.Connection, why: str) -> None:
    """Neither up nor down."""
    with pytest.raises(MigrationRefused, match=why):
        migrations.up(database, now=8)
    with pytest.raises(MigrationRefused, match=why):
        migrations.down(database)


def test_a_fresh_database_gets_every_file(files: Path, database: sqlite3.Connection) -> None:
    migrations = Migrations.discover(files)
    assert not migrations.current(database)
    assert migrations.up(database, now=7) == [FIRST, SECOND, THIRD]
    assert applied(database) == [(FIRST, 7), (SECOND, 7), (THIRD, 7)]
    assert migrations.current(database)
    columns = database.execute("PRAGMA table_info(__migrations)").fetchall()
    assert [(name, kind, strict, key) for _, name, kind, strict, _, key in columns] == [
        ("filename", "TEXT", 0, 1),
        ("sha256", "TEXT", 1, 0),
        ("applied_at", "INTEGER", 1, 0),
    ]


def test_a_second_start_does_nothing(files: Path, database: sqlite3.Connection) -> None:
    Migrations.discover(files).up(database, now=7)
    before = database.execute("PRAGMA data_version").fetchone(), database.total_changes
    assert Migrations.discover(files).up(database, now=8) == []
    assert applied(database) == [(FIRST, 7), (SECOND, 7), (THIRD, 7)]
    assert before == (database.execute("PRAGMA data_version").fetchone(), database.total_changes)


def test_a_newer_program_brings_the_rows_along(files: Path, database: sqlite3.Connection) -> None:
    Migrations.discover(files).up(database, now=7, to=SECOND)
    assert applied(database) == [(FIRST, 7), (SECOND, 7)]
    database.execute("INSERT INTO parents (id, name) VALUES (1, 'ann')")
    database.execute("INSERT INTO children (parent_id) VALUES (1)")
    assert Migrations.discover(files).up(database, now=8) == [THIRD]
    assert applied(database) == [(FIRST, 7), (SECOND, 7), (THIRD, 8)]
    assert database.execute("SELECT * FROM parents").fetchall() == [(1, "ann")]
    assert database.execute("SELECT * FROM children").fetchall() == [(1,)]


def test_foreign_keys_are_as_before_afterwards(files: Path, database: sqlite3.Connection) -> None:
    for setting in (1, 0):
        database.execute(f"PRAGMA foreign_keys = {setting}")
        Migrations.discover(files).up(database, now=7)
        Migrations.discover(files).down(database)
        assert database.execute("PRAGMA foreign_keys").fetchone() == (setting,)


def test_up_down_up_leaves_the_same_schema(files: Path, database: sqlite3.Connection) -> None:
    migrations = Migrations.discover(files)
    migrations.up(database, now=7)
    made = schema(database)
    assert migrations.down(database, to=FIRST) == [THIRD, SECOND]
    assert applied(database) == [(FIRST, 7)]
    assert migrations.down(database) == [FIRST]
    assert list(schema(database)) == ["__migrations"]
    assert migrations.down(database) == []
    assert migrations.up(database, now=8) == [FIRST, SECOND, THIRD]
    assert schema(database) == made


def test_every_stop_of_the_own_migrations_goes_up_and_down(database: sqlite3.Connection) -> None:
    migrations = Migrations.discover(CHECKOUT)
    made: list[dict[str, str]] = []
    for migration in migrations:
        assert migrations.up(database, now=7, to=migration.filename) == [migration.filename]
        made.append(schema(database))
    for migration in reversed(migrations):
        assert schema(database) == made.pop()
        assert migrations.down(database) == [migration.filename]
    assert list(schema(database)) == ["__migrations"]
    assert len(migrations.up(database, now=8)) == len(migrations)


def test_down_to_a_file_leaves_that_file_applied(files: Path, database: sqlite3.Connection) -> None:
    migrations = Migrations.discover(files)
    migrations.up(database, now=7)
    assert migrations.down(database, to=THIRD) == []
    assert migrations.down(database, to=SECOND) == [THIRD]
    with pytest.raises(MigrationRefused, match=f"{THIRD} is not applied"):
        migrations.down(database, to=THIRD)
    with pytest.raises(MigrationRefused, match=f"no migration 'third'; there are {FIRST}, "):
        migrations.down(database, to="third")
    with pytest.raises(MigrationRefused, match="no migration 'third'"):
        migrations.up(database, now=8, to="third")
    assert migrations.up(database, now=8, to=FIRST) == []


def test_a_changed_file_is_refused(files: Path, database: sqlite3.Connection) -> None:
    Migrations.discover(files).up(database, now=7, to=SECOND)
    put(files, FIRST, FILES[FIRST][0] + "-- a word more\n")
    before = schema(database)
    migrations = Migrations.discover(files)
    refused_both_ways(migrations, database, f"{FIRST} has changed .*: put the file back")
    assert schema(database) == before
    assert states(files, database) == {FIRST: "changed", SECOND: "applied", THIRD: "pending"}
    assert not migrations.current(database)


def test_a_database_that_is_newer_than_the_program_is_refused(
    files: Path, database: sqlite3.Connection
) -> None:
    Migrations.discover(files).up(database, now=7)
    remove(files, THIRD)
    migrations = Migrations.discover(files)
    refused_both_ways(migrations, database, f"{THIRD}.*newer.*migrate down --to {SECOND}")
    assert states(files, database) == {FIRST: "applied", SECOND: "applied", THIRD: "gone"}
    assert not migrations.current(database)


def test_a_file_that_sorts_before_an_applied_one_is_refused(
    files: Path, database: sqlite3.Connection
) -> None:
    Migrations.discover(files).up(database, now=7)
    put(files, "0002_late.sql", "CREATE TABLE late (x);\n", "DROP TABLE late;\n")
    migrations = Migrations.discover(files)
    with pytest.raises(MigrationRefused, match=f"0002_late.sql is not applied, but {THIRD}.*down"):
        migrations.up(database, now=8)
    assert states(files, database)["0002_late.sql"] == "out of order"
    # What the message proposes helps.
    assert migrations.down(database, to=FIRST) == [THIRD, SECOND]
    assert migrations.up(database, now=9) == ["0002_late.sql", SECOND, THIRD]


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("CREATE TABLE half (x);\nINSERT INTO nowhere VALUES (1);\n", "no such table: nowhere"),
        ("CREATE TABLE half (x);\nINSERT INTO children VALUES (9);\n", "rows of children refer"),
        ("CREATE TABLE half (x UNIQUE);\nINSERT INTO half VALUES (1), (1);\n", "UNIQUE"),
        (
            "CREATE TABLE half (x UNIQUE);\nINSERT INTO half VALUES (1);\n"
            "INSERT OR ROLLBACK INTO half VALUES (1);\nCREATE TABLE after_it (x);\n",
            "UNIQUE",
        ),
        ("CREATE TABLE half (x);\nINSERT INTO half VALUES (?);\n", "number of bindings"),
    ],
)
def test_a_file_that_fails_half_way_leaves_nothing(
    files: Path, database: sqlite3.Connection, sql: str, complaint: str
) -> None:
    Migrations.discover(files).up(database, now=7)
    before = schema(database)
    put(files, "0004_half.sql", sql)
    put(files, "0005_never.sql", "CREATE TABLE never (x);\n")
    with pytest.raises(MigrationFailed, match=f"0004_half.sql: .*{complaint}.*Nothing of it"):
        Migrations.discover(files).up(database, now=8)
    assert schema(database) == before
    assert [name for name, _ in applied(database)] == [FIRST, SECOND, THIRD]
    assert not database.in_transaction
    put(files, "0004_half.sql", "CREATE TABLE half (x);\n")
    assert Migrations.discover(files).up(database, now=9) == ["0004_half.sql", "0005_never.sql"]


def test_the_first_file_of_all_that_fails_leaves_nothing(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    put(tmp_path, FIRST, "CREATE TABLE half (x);\nCREATE TABLE half (x);\n")
    with pytest.raises(MigrationFailed, match="already exists"):
        Migrations.discover(tmp_path).up(database, now=7)
    assert schema(database) == {}


def test_a_way_back_that_fails_leaves_the_file_applied(
    files: Path, database: sqlite3.Connection
) -> None:
    put(files, THIRD, FILES[THIRD][0], "DROP TABLE children;\nDROP TABLE nowhere;\n")
    migrations = Migrations.discover(files)
    migrations.up(database, now=7)
    before = schema(database)
    with pytest.raises(MigrationFailed, match=r"0003_third\.down\.sql: no such table: nowhere"):
        migrations.down(database)
    assert schema(database) == before
    assert migrations.current(database)


def test_a_file_that_is_no_database_is_refused(files: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, this is no database at all. " * 50)
    connection = sqlite3.connect(tmp_path / "letter.db", isolation_level=None)
    try:
        with pytest.raises(MigrationRefused, match="cannot be read: file is not a database"):
            Migrations.discover(files).up(connection, now=7)
    finally:
        connection.close()


def test_a_connection_with_a_transaction_of_its_own_is_a_bug(
    files: Path, database: sqlite3.Connection
) -> None:
    database.execute("BEGIN")
    with pytest.raises(ValueError, match="make their own transactions"):
        Migrations.discover(files).up(database, now=7)
    database.execute("ROLLBACK")
