"""The wheel: the two packages with the migrations inside, and it runs where nothing else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

import broker

# Packages are fetched and unpacked here: the network is slower than anything else in the tests.
pytestmark = pytest.mark.timeout(180)

DIST_INFO = f"postroom-{broker.__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True)
    return folder


def run(environment: Path, cwd: Path, *arguments: str) -> str:
    """What a command of the environment prints, away from the checkout and its variables."""
    command = [str(environment / "bin" / arguments[0]), *arguments[1:]]
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    done = subprocess.run(
        command, cwd=cwd, env=variables, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def sources(folder: Path) -> Iterator[Path]:
    """What of a package belongs into the wheel."""
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def test_it_holds_the_two_packages_and_the_migrations(wheel: Path, checkout: Path) -> None:
    expected = {
        str(path.relative_to(checkout)).replace("migrations/", "broker/migrations/")
        for package in ("broker", "clients", "migrations")
        for path in sources(checkout / package)
    }
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if not name.startswith(f"{DIST_INFO}/")}
    assert packed == expected
    assert {"broker/py.typed", "clients/py.typed", "broker/migrations/0001_directory.sql"} < packed
    assert {Path(name).suffix for name in packed} <= {".py", ".pyi", ".sql", ".typed"}
    assert f"{DIST_INFO}/licenses/LICENSE" in names


def test_its_files_are_those_of_the_checkout(wheel: Path, checkout: Path) -> None:
    with ZipFile(wheel) as archive:
        for path in sources(checkout / "migrations"):
            assert archive.read(f"broker/migrations/{path.name}") == path.read_bytes()
        assert archive.read("broker/__init__.py") == (checkout / "broker/__init__.py").read_bytes()
        entry_points = archive.read(f"{DIST_INFO}/entry_points.txt").decode()
    assert entry_points.strip() == "[console_scripts]\npostroom = clients.command.main:main"


def test_it_runs_in_an_empty_environment(empty_environment: Path, tmp_path: Path) -> None:
    assert run(empty_environment, tmp_path, "postroom", "--version").split()[-1] == (
        broker.__version__
    )


def test_it_brings_its_migrations(empty_environment: Path, tmp_path: Path, checkout: Path) -> None:
    program = (
        "import broker\nfrom broker.store.migrate import Migrations\n"
        "print(broker.__file__, *(one.filename for one in Migrations.discover()))"
    )
    origin, *names = run(empty_environment, tmp_path, "python", "-c", program).split()
    assert Path(origin).is_relative_to(empty_environment)
    ups = [path for path in (checkout / "migrations").iterdir() if ".down." not in path.name]
    assert names == sorted(path.name for path in ups)
