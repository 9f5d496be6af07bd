"""Names, secrets and log lines as the command line reads them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import typer

from holdfast.cli import history
from holdfast.cli.arguments import read_secrets
from holdfast.cli.connection import Connection
from holdfast.cli.naming import pick, resolve
from holdfast.wire.api.instances import InstanceList, InstanceView, LogLine

IDS = ("233c33bb-0fe8-40e4-b87a-31f347013511", "233c9999-0fe8-40e4-b87a-31f347013512")


class Fleet(Connection):
    """A plane with a few instances and nothing else."""

    def __init__(self, *items: InstanceView) -> None:
        self.items = items
        self.calls: list[str] = []

    def call(self, endpoint: str, *, query: Any = None, **_: Any) -> Any:
        self.calls.append(endpoint)
        text = query["text"]
        found = tuple(i for i in self.items if text in i.name or text in i.id)
        return InstanceList(items=found)


def view(instance_id: str, name: str, account: str = "local") -> InstanceView:
    return InstanceView(
        id=instance_id, name=name, account=account, agent="demo", desired="running",
        status="running", restarts=0, last_contact_at=None, created_at=None,
    )  # fmt: skip


FLEET = Fleet(view(IDS[0], "demo"), view(IDS[1], "demolition"))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("demo", IDS[0]), ("demolition", IDS[1]), (IDS[1], IDS[1]), ("233c33", IDS[0])],
)
def test_an_instance_is_found_by_id_name_or_beginning(given: str, wanted: str) -> None:
    assert resolve(FLEET, given) == wanted


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ("233c", 1, "could be any of"),
        ("demol", 4, "did you mean demolition?"),
        ("nobody", 4, "holdfast instance list"),
        ("233", 4, "no instance has the id or name '233'"),
    ],
)
def test_what_is_not_clear_is_said(
    given: str, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        resolve(FLEET, given)
    assert ended.value.exit_code == code
    assert told in capsys.readouterr().err


def test_one_name_in_two_accounts_wants_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        resolve(Fleet(view(IDS[0], "twin"), view(IDS[1], "twin", "other")), "twin")
    assert "2 accounts have an instance called twin" in capsys.readouterr().err


def test_a_gone_instance_is_believed_by_its_whole_id_only() -> None:
    fleet = Fleet()
    assert resolve(fleet, IDS[0], gone=True) == IDS[0]
    assert not fleet.calls
    with pytest.raises(typer.Exit):
        resolve(fleet, IDS[0])


def test_other_things_are_picked_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert pick("tok_1", ["tok_1", "tok_12"], what="token", where="x") == "tok_1"
    assert pick("tok_12", ["tok_123", "tok_9"], what="token", where="x") == "tok_123"
    for given, code in (("tok_", 1), ("none", 4)):
        with pytest.raises(typer.Exit) as ended:
            pick(given, ["tok_1", "tok_2"], what="token", where="holdfast token list")
        assert ended.value.exit_code == code
    assert "holdfast token list shows" in capsys.readouterr().err


def test_secrets_come_from_anywhere_but_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("from the input\n"))
    read = read_secrets(["A=-", f"B=@{file}"])
    assert read == {"A": "from the input", "B": "from a file"}
    for wrong, code in (("A=hunter2", 2), ("A", 2), ("=x", 2), (f"A=@{file}.no", 1), ("A=-", 2)):
        with pytest.raises(typer.Exit) as ended:
            read_secrets([wrong])
        assert ended.value.exit_code == code
    told = capsys.readouterr().err
    assert "does not belong on the command line" in told
    assert "hunter2" not in told


def test_following_a_log_tells_each_line_once() -> None:
    a, b, c, d = (LogLine(text=text) for text in "abcd")
    fresh = history.fresh_lines
    assert fresh([], [a, b]) == [a, b]
    assert fresh([a, b], [a, b]) == []
    assert fresh([a, b], [b, c, d]) == [c, d]
    assert fresh([a, a], [a, a, a]) == [a]
    assert fresh([a, b], [c, d]) == [c, d]
