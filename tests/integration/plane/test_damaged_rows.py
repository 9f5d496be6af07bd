"""A row that cannot be shown as stored does not hide the others: each list, its page, a reader."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import pytest

from holdfast.wire.api.brains import BrainCreate, BrainKeyCreate
from holdfast.wire.api.instances import InstanceCreate
from holdfast.wire.salvage import DAMAGES_SHOWN
from tests.support.patience import patience
from tests.support.planes import PlaneProcess

FAR = 253_402_300_800_000
"""The first millisecond of the year 10000."""

NO_TEXT = "CAST(X'ff41fe' AS TEXT)"


def edit(path: Path, statements: str) -> None:
    """Write rows past every check of a store."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
    connection.execute(statements)
    connection.close()


TOKENS = "INSERT INTO tokens VALUES"
ACCOUNTS = f"""
{TOKENS} ('tok_far', 'h1', 'far', 'owner', 'local', {FAR}, 'x', {2**62}, {FAR}, NULL);
{TOKENS} ('tok_bytes', 'h2', {NO_TEXT}, 'owner', 'local', -{FAR}, {NO_TEXT}, NULL, NULL, NULL);
{TOKENS} ('a bad id', 'h3', '{"n" * 999}', 'dreamer', 'local', 0, 'x', NULL, NULL, NULL);
INSERT INTO people VALUES ('p1', 'dreamer', 'local', '', {FAR});
INSERT INTO people VALUES ({NO_TEXT}, 'owner', 'local', '', 0);
INSERT INTO accounts VALUES ({NO_TEXT}, {FAR});
INSERT INTO audit SELECT 100000, before, hash, {FAR}, phase, begins, {NO_TEXT}, how, account,
    endpoint, '{"t" * 2000}', peer, request_id, key, -7
    FROM audit WHERE phase = 'begin' LIMIT 1;
"""
CORRECTION = f"""
'local', randomblob(32), 's', 0, {FAR}, {FAR}, {NO_TEXT}, '{"c" * 500}', 'odd', {NO_TEXT}, 'final',
'', '', 9e999, '["x', '["e', 'src', 0, 'sdk', 1, 0, 0, 0, 0
"""
CORRECTIONS = f"""
INSERT INTO brains VALUES (900, 'a bad id', {NO_TEXT}, 'local', '', {FAR});
INSERT INTO sources VALUES (900, {NO_TEXT}, 'x', 1, '[[1', 0, -5, 0, {FAR});
INSERT INTO keys VALUES ('bk_far', 'kh', {NO_TEXT}, 'local', 901, {FAR}, 'x', NULL, NULL);
INSERT INTO corrections VALUES (901, 900, {CORRECTION}), (902, 999, {CORRECTION});
INSERT INTO lessons VALUES
    (901, 900, 'local', 'l', 'c', {NO_TEXT}, 'ODD', 1e999, -1, 0, 'x', {FAR}, 'src', 0, 'dreamed',
     '', {FAR}, 0),
    (902, 999, 'local', 'm', 'c', 'text', 'ODD', 0.5, 1, 0, 'x', {FAR}, 'src', 0, 'approved',
     '', {FAR}, 0);
"""
JOURNAL = """
INSERT INTO view_rows SELECT view, 'cut-' || key, account, substr(body, 1, 40), seq
    FROM view_rows WHERE view IN ('instance', 'instance-detail', 'machine');
INSERT INTO view_rows SELECT view, 'odd-' || key, account,
    CAST(replace(CAST(body AS TEXT), '"provisioned"', '"dreaming"') AS BLOB), seq
    FROM view_rows WHERE view = 'instance' AND key NOT LIKE 'cut-%';
INSERT INTO view_rows VALUES ('pairing', 'lost', 'local', X'7b', 1);
UPDATE ticks SET record = substr(record, 1, 20);
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("damaged") / "home"
    made = PlaneProcess(home)
    made.start()
    with made.client() as client:
        client.call("instance.create", body=InstanceCreate(name="whole", desired="stopped"))
        client.call("brain.create", body=BrainCreate(name="whole"))
        client.call("brain-key.create", body=BrainKeyCreate(name="whole"))
    made.terminate()
    edit(home / "accounts.db", ACCOUNTS)
    edit(home / "intake.db", CORRECTIONS)
    edit(home / "journal.db", JOURNAL)
    made.start()
    yield made
    made.close()


def listed(plane: PlaneProcess, endpoint: str, **query: str) -> list[Any]:
    with plane.client() as client:
        return list(client.call(endpoint, query=query).items)


@pytest.mark.parametrize(
    ("endpoint", "least", "is_whole", "is_damaged"),
    [
        ("token.list", 4, lambda t: t.name != "far", lambda t: t.scope == "dreamer"),
        ("person.list", 2, lambda _: True, lambda p: p.scope == "dreamer"),
        ("account.list", 2, lambda a: a.name == "local", lambda a: "\ufffd" in a.name),
        ("audit.list", 2, lambda a: not a.damaged, lambda a: a.damaged),
        ("brain.list", 2, lambda b: b.name == "whole", lambda b: b.damaged),
        ("brain-key.list", 2, lambda k: k.name == "whole", lambda k: "\ufffd" in k.name),
        ("correction.list", 2, lambda _: True, lambda c: c.damaged),
        ("lesson.list", 2, lambda _: True, lambda one: one.damaged),
        ("instance.list", 3, lambda i: i.name == "whole", lambda i: i.status == "unknown"),
        ("operation.list", 1, lambda _: True, lambda _: True),
        ("quarantine.list", 0, lambda _: True, lambda _: True),
    ],
)  # fmt: skip
def test_a_list_shows_the_damaged_row_and_the_others(
    plane: PlaneProcess,
    endpoint: str,
    least: int,
    is_whole: Callable[[Any], bool],
    is_damaged: Callable[[Any], bool],
) -> None:
    items = listed(plane, endpoint)
    assert len(items) >= least
    assert not items or (any(map(is_whole, items)) and any(map(is_damaged, items)))


def test_what_can_be_read_of_a_damaged_instance_is_shown(plane: PlaneProcess) -> None:
    (whole,) = listed(plane, "instance.list", text="whole", status="stopped,provisioned")
    odd = next(i for i in listed(plane, "instance.list") if i.id.startswith("odd-"))
    assert (odd.name, odd.account, odd.agent) == (whole.name, whole.account, whole.agent)
    cut = next(i for i in listed(plane, "instance.list") if i.id.startswith("cut-"))
    assert (cut.status, cut.account) == ("unknown", "local")
    assert "damaged" in cut.attention
    with plane.client() as client:
        assert client.call("instance.get", path={"id": cut.id}).instance.status == "unknown"
        assert not client.call("pairing.inbox").items
        assert client.call("instance.timeline", path={"id": whole.id}).entries


@pytest.mark.parametrize(
    ("path", "is_told"),
    [("/", False), ("/?attention=true", False), ("/tokens", True), ("/audit", True),
     ("/brains", True), ("/corrections", True), ("/lessons", True), ("/operations", False),
     ("/quarantine", False), ("/pairing", False)],
)  # fmt: skip
def test_each_page_is_drawn_and_names_damaged_rows(
    plane: PlaneProcess, path: str, *, is_told: bool
) -> None:
    parts = urlsplit(plane.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=patience(30))
    connection.request("GET", path, headers={"authorization": f"Bearer {plane.token()}"})
    answer = connection.getresponse()
    drawn = answer.read().decode()
    assert answer.status == HTTPStatus.OK, drawn[:500]
    notice = drawn.partition("Not everything here can be shown")[2].partition("</div>")[0]
    assert ("its stored row is damaged" in notice) == is_told, notice
    connection.close()


@pytest.mark.parametrize("noun", ["token", "account", "brain-key", "instance", "quarantine"])
def test_the_command_line_prints_each_list_and_names_damaged_rows(
    plane: PlaneProcess, noun: str
) -> None:
    damaged = [row for row in listed(plane, f"{noun}.list") if getattr(row, "damaged", "")]
    assert damaged or noun != "token"
    told = plane.cli(noun, "list").stderr
    assert told.count("its stored row is damaged") == min(len(damaged), DAMAGES_SHOWN)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("x", "--days", "3000000"), "expires_in_s"),
        (("x", "--days", "9000000000000000000"), "expires_in_s"),
        (("not a name",), "name"),
        (("n" * 64,), "name"),
        (("x", "--account", "a" * 64), "account"),
    ],
)
def test_a_token_made_locally_keeps_to_the_limits_of_the_api(
    plane: PlaneProcess, given: tuple[str, ...], said: str
) -> None:
    before = len(listed(plane, "token.list"))
    done = plane.cli("token", "create", *given, code=1)
    assert said in done.stderr + done.stdout
    assert len(listed(plane, "token.list")) == before
