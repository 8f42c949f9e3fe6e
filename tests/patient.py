"""The data of a stopped broker in which people have lived, to be spoiled and examined."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rig import rig

from broker.doctor import Found, Report
from broker.maintenance import diagnose


class Patient:
    """A data directory, and what the doctor says of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def spoil(self, *statements: str) -> None:
        """Do what no broker would."""
        connection = sqlite3.connect(self.directory / "postroom.db")
        try:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        finally:
            connection.close()

    def examined(self, *, repair: bool = False) -> Report:
        """A whole examination."""
        return diagnose(self.directory, repair=repair)

    def found(self, check: str) -> list[Found]:
        """What one check finds, when nothing else is wrong but what follows from it."""
        report = self.examined()
        assert not report.ok
        return [one for one in report.findings if one.check == check]

    def mended(self) -> None:
        """Everything that is wrong can be repaired, and then nothing is wrong."""
        assert not self.examined().ok
        report = self.examined(repair=True)
        assert report.ok, report.told()
        assert all(one.repaired for one in report.findings)
        assert self.examined().checks == dict.fromkeys(report.checks, 0)


async def lived(directory: Path) -> Patient:
    """Two members, a session, groups; mail that waits, is held, was acked, nacked and is dead."""
    async with rig(directory, mail__max_attempts=1) as broker:
        alice = await broker.join("alice", session="s1", groups=["@team", "#news"])
        bob = await broker.join("bob", capacity=0)
        await bob.ask("token.create")
        for number in range(4):
            await alice.ask("mail.send", to=["bob", "alice"], body=number, key=f"k{number}")
        first, second, *_ = (await bob.ask("mail.claim", max=3))["deliveries"]
        await bob.ask("mail.ack", delivery=first["delivery"], claim=first["claim"])
        await bob.ask("mail.nack", delivery=second["delivery"], claim=second["claim"])
        await broker.settle()
    return Patient(directory)
