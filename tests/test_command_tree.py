"""The tree of commands: the names of the wire, flags anywhere, help for everything."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from cyclopts import App, CycloptsError

from broker.wire import OPERATIONS, Answer, Request
from broker.wire.delegations import ListDelegations, Update
from broker.wire.fields import NULL
from broker.wire.mail import Claim, Send
from clients.command import commands
from clients.command.failures import WrongUsage
from clients.command.line import in_order, noun_of
from clients.command.lookup import Flags
from clients.command.session import Session
from clients.command.tree import COMPOSED, OWN, tree

WHOLE = tree()
EVERY = sorted({*OPERATIONS, *COMPOSED} - OWN)


class Asked(Exception):  # noqa: N818 - it carries what would have been asked
    """A command got as far as asking."""

    def __init__(self, session: Session, request: Request, **how: Any) -> None:
        super().__init__(request)
        self.session = session
        self.request = request
        self.how = how


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands stop where they would connect."""

    async def ask(session: Session, request: Request, **how: Any) -> Answer:
        raise Asked(session, request, **how)

    monkeypatch.setattr(Session, "ask", ask)


async def asks(*words: str) -> Asked:
    """What a command line would ask."""
    given = in_order(words)
    app = tree(noun_of(given))
    command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
    with pytest.raises(Asked) as found:
        await command(*bound.args, **bound.kwargs)
    return found.value


def command_of(name: str) -> App:
    app = WHOLE
    for word in name.split("."):
        app = app[word]
    return app


@pytest.mark.parametrize("name", EVERY)
def test_every_operation_is_a_command_with_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_of(name).help
    WHOLE([*name.split("."), "--help"], exit_on_error=False, result_action="return_value")
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: postroom {name.replace('.', ' ')}")
    assert "--token-file" in shown


def test_what_belongs_to_a_connection_is_no_command() -> None:
    assert set(OPERATIONS) > OWN
    for name in OWN:
        with pytest.raises(KeyError):
            command_of(name)


@pytest.mark.usefixtures("asked")
async def test_a_command_line_becomes_its_request() -> None:
    found = await asks("mail", "send", "bob", "hi", "--ttl-ms", "5m", "--receipt", "--key=k1")
    send = found.request
    assert isinstance(send, Send)
    assert (send.to, bytes(send.body), send.key) == ("bob", b'"hi"', "k1")
    assert (send.ttl_ms, send.receipt, send.priority, send.meta) == (300_000, True, 50, NULL)
    assert found.session == Session(Flags(), json=False)


@pytest.mark.usefixtures("asked")
async def test_flags_of_the_connection_stand_before_or_behind() -> None:
    flags = Flags(url="ws://h:1", mesh="m", member="bob", token_file="-", token=None)
    words = ["--url", "ws://h:1", "--mesh=m", "--as", "bob", "--token-file", "-", "--json"]
    for line in ([*words, "mail", "claim"], ["mail", "claim", *words]):
        found = await asks(*line)
        assert found.session == Session(flags, json=True)
        assert isinstance(found.request, Claim)


@pytest.mark.usefixtures("asked")
async def test_a_claim_is_not_given_back_by_a_goodbye() -> None:
    assert (await asks("mail", "claim")).how["leave"] is False
    assert (await asks("mail", "ack", "d2", "c4")).how["leave"] is True


@pytest.mark.usefixtures("asked")
async def test_who_names_a_page_gets_a_page() -> None:
    assert (await asks("mail", "list")).how["one_page"] is False
    assert (await asks("mail", "list", "--limit", "200")).how["one_page"] is True
    assert (await asks("mail", "list", "--after", "x")).how["one_page"] is True


@pytest.mark.usefixtures("asked")
async def test_as_is_a_member_unless_the_operation_knows_the_word() -> None:
    found = await asks("delegation", "list", "--as", "callee", "--as", "bob")
    assert isinstance(found.request, ListDelegations)
    assert (found.request.as_, found.session.flags.member) == ("callee", "bob")
    assert (await asks("mail", "list", "--as", "callee")).session.flags.member == "callee"
    with pytest.raises(WrongUsage, match="alice and bob"):
        await asks("mail", "list", "--as", "alice", "--as", "bob")


@pytest.mark.usefixtures("asked")
async def test_a_mesh_is_made_under_its_name_in_the_mesh_of_the_flag() -> None:
    found = await asks("mesh", "create", "lab", "--mesh", "default")
    assert getattr(found.request, "mesh", None) == "lab"
    assert found.session.flags.mesh == "default"


@pytest.mark.usefixtures("asked")
async def test_roles_are_asked_for_by_one_word_or_all() -> None:
    assert getattr((await asks("peer", "list")).request, "roles", 0) is None
    found = await asks("peer", "list", "--role", "service", "--member", "bob")
    assert (getattr(found.request, "roles", 0), getattr(found.request, "member", 0)) == (
        ["service"],
        "bob",
    )
    every = getattr((await asks("peer", "list", "--all")).request, "roles", 0)
    assert every == ["control-plane", "session", "service"]


@pytest.mark.usefixtures("asked")
async def test_cancelling_a_delegation_is_an_update() -> None:
    update = (await asks("delegation", "cancel", "g1", "--error", "late")).request
    assert isinstance(update, Update)
    assert (update.delegation, update.status, update.error) == ("g1", "cancelled", "late")


@pytest.mark.usefixtures("asked")
async def test_a_dash_is_standard_input_and_behind_two_everything_is_a_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped")))
    piped = (await asks("mail", "send", "bob", "-")).request
    plain = (await asks("mail", "send", "bob", "--", "--json")).request
    minus = (await asks("mail", "send", "bob", "-5")).request
    bodies = [bytes(one.body) for one in (piped, plain, minus) if isinstance(one, Send)]
    assert bodies == [b'"piped"', b'"--json"', b'"-5"']


@pytest.mark.parametrize(
    "line",
    ["mail send", "mail send bob hi --frob", "mail claim --max many", "mail list --state odd",
     "mail send bob hi there", "frob", "mail frob", "mail claim --wait-ms soon"],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused(line: str) -> None:
    with pytest.raises(CycloptsError):
        WHOLE.parse_args(line.split(), exit_on_error=False, print_error=False)


def test_only_the_noun_that_is_asked_for_is_built() -> None:
    app = tree("mail")
    assert "send" in list(app["mail"])
    assert "list" not in list(app["peer"])


def test_shared_arguments_have_the_flags_that_fields_must_not_take() -> None:
    flags = {
        name
        for one in commands.SHARED
        for said in inspect.signature(lambda: None).replace(parameters=[one]).parameters.values()
        for name in said.annotation.__metadata__[0].name
    }
    assert flags == commands.TAKEN
