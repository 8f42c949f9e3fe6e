"""A short, honest run of everything: `python -m bench report [--write docs/performance.md]`

Owns: the set of commands, and the places of a page that hold their tables, between
`<!-- bench NAME -->` and `<!-- end -->`, and the pictures that the page shows of them. What stands
around them is written by people.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.machine import ROOT
from bench.plot import drawn
from bench.report import Report
from bench.show import origin, sheets, show
from bench.traffic import RunFailed

SET: dict[str, list[str]] = {
    "ceiling": ["--seconds", "1.5"],
    "pairs": ["--shapes", "1:1,100:1,100:10", "--seconds", "1.5"],
    "burst": [],
    "steady": ["--seconds", "4", "--rates", "500,2000,5000,10000,20000,40000"],
    "fanout": [],
    "backlog": ["--depths", "1000,100000"],
    "idle": [],
    "churn": [],
    "dispatch": [],
    "delegations": [],
}
LONG: dict[str, list[str]] = {
    "backlog": [],
    "peers": [],
}
"""With `--long` as well, or in place of the shorter: a million messages, and the other brokers."""


def main(words: list[str]) -> int:
    """`python -m bench report`"""
    parser = argparse.ArgumentParser(
        prog="python -m bench report", description="a short run of everything"
    )
    parser.add_argument("--only", default="", metavar="NAME,...", help="some of the commands")
    parser.add_argument("--long", action="store_true", help="a million messages, and the peers")
    parser.add_argument("--write", type=Path, metavar="PAGE.md", help="put the tables there")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="put the JSON documents there")
    arguments, further = parser.parse_known_args(words)
    commands = SET | LONG if arguments.long else SET
    names = [name for name in arguments.only.split(",") if name] or list(commands)
    page = arguments.write.read_text() if arguments.write else ""
    for name in names:
        if name not in SET | LONG:
            raise RunFailed(f"no command {name}: there are {', '.join(SET | LONG)}")
        if arguments.write:
            filled(page, name, "")
    worst = 0
    for name in names:
        line = [
            name,
            *(commands | SET | LONG if name not in commands else commands)[name],
            *further,
        ]
        code, report = measured(line, arguments.keep)
        worst = max(worst, code)
        if report is None:
            sys.stderr.write(f"bench report: {name} gave no figures\n")
            continue
        if arguments.write:
            page = filled(arguments.write.read_text(), name, markdown(line, report))
            arguments.write.write_text(page)
            redraw(arguments.write, page, report)
        else:
            show(report, as_json=False)
    return worst


def measured(line: list[str], keep: Path | None) -> tuple[int, Report | None]:
    """Run one command of the bench; its exit code and report, which a failed run doesn't have."""
    command = [sys.executable, "-m", "bench", *line, "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        try:
            said, _ = child.communicate()
        except BaseException:
            # Not killed: it has servers to stop and databases to remove.
            child.terminate()
            raise
    if not said:
        return child.returncode or 1, None
    if keep is not None:
        (keep / f"{line[0]}.json").write_bytes(said)
    return child.returncode, msgspec.json.decode(said, type=Report)


def markdown(line: list[str], report: Report) -> str:
    """The tables, with the command that made them and where they come from."""
    parts = [f"```\npython -m bench {' '.join(line)}\n```"]
    parts.append("\n".join(f"- {words}" for words in origin(report)))
    parts += [sheet.markdown() for sheet in sheets(report)]
    return "\n\n".join(parts)


def redraw(path: Path, page: str, report: Report) -> None:
    """Draw the picture of this command anew, if the page shows it."""
    shown = re.search(rf"\((\S*bench-{report.bench}\.svg)\)", page)
    if shown and report.series:
        (path.parent / shown[1]).write_text(drawn(report))


def filled(page: str, name: str, text: str) -> str:
    """The page with new tables in the place of that name."""
    place = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not place.search(page):
        raise RunFailed(f"the page has no place for {name}: <!-- bench {name} --> ... <!-- end -->")
    return place.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page, count=1)
