"""Every command against a real plane: tables, JSON, exit codes, and what is said when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from holdfast.cli.main import COMMANDS, NOUNS, main
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at
from tests.support.ports import free_port

EMPTY = {("quarantine", "list"), ("brain-key", "list"), ("lesson", "list")}
LISTS = (
    ("instance", "list"),
    ("instance", "show", "demo"),
    ("instance", "timeline", "demo"),
    ("instance", "timeline", "demo", "--all"),
    ("instance", "logs", "demo"),
    ("instance", "why", "demo"),
    ("instance", "channels", "demo"),
    ("instance", "secrets", "demo"),
    ("pairing", "policy", "demo"),
    ("operation", "list"),
    ("quarantine", "list"),
    ("token", "list"),
    ("account", "list"),
    ("person", "list"),
    ("audit", "list"),
    ("audit", "verify"),
    ("lesson", "list"),
    ("charts",),
    ("charts", "demo"),
    ("brain-key", "list"),
    ("agents", "list"),
    ("rehearse", "dry-run", "demo"),
    ("rehearse", "replay", "demo"),
    ("rehearse", "explain", "instance/demo"),
    ("doctor",),
    ("link",),
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("cli") / "home") as found:
        found.cli("instance", "create", "demo")
        found.ready("demo")
        yield found


class Ran:
    """What a command printed in this process, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run: TypeAlias = Callable[..., Ran]


@pytest.fixture
def run(
    plane: PlaneProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command in this process, which is ten times quicker."""
    for name, value in plane.environment.items():
        if name.startswith("HOLDFAST_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, out, err)

    return call


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_each_answers_as_a_table_and_as_json(run: Run, words: tuple[str, ...]) -> None:
    shown = run(*words)
    assert shown.code == 0, shown.err
    assert shown.out or words in EMPTY, shown.err
    if words[-1] not in {"logs", "link"} and "logs" not in words and "link" not in words:
        assert max(map(len, shown.out.splitlines() or [""])) <= 80
    printed = run(*words, "--json")
    assert printed.code == 0
    assert isinstance(json.loads(printed.out), dict | list)
    assert printed.err == ""


def test_a_brain_key_is_shown_once_and_revoked_by_how_it_begins(run: Run) -> None:
    made = run("brain-key", "create", "agents", "--brain", "kalle")
    assert made.out.startswith("hfb_")
    assert "kalle" in made.err
    (key,) = json.loads(run("brain-key", "list", "--json").out)["items"]
    assert (key["name"], key["brain_name"], key["revoked_at"]) == ("agents", "kalle", None)
    assert made.out.strip() not in run("brain-key", "list").out
    assert run("brain-key", "revoke", key["id"][:8]).code == 0
    assert "revoked" in run("brain-key", "list").out
    assert run("brain-key", "revoke", "bk_none").code == 4


def test_each_of_many_is_answered_for_itself(run: Run) -> None:
    done = run("bulk", "start", "demo", "--json")
    (item,) = json.loads(done.out)["items"]
    assert (done.code, item["result"]) in {(0, "done"), (1, "refused")}
    shown = run("bulk", "start", "demo")
    assert shown.out.splitlines()[-1].split()[:2] == ["demo", item["result"]]


def test_a_script_can_rely_on_the_list(run: Run) -> None:
    (item,) = json.loads(run("instance", "list", "--json").out)
    assert item.keys() >= {"id", "agent", "desired", "status", "restarts", "last_contact_at"}
    assert run("instance", "show", item["id"][:8]).code == 0
    assert item["id"][:8] in run("instance", "list").out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("instance", "show", "nobody"), 4, "holdfast instance list"),
        (("instance", "show", "dem"), 4, "did you mean demo?"),
        (("instance", "show", "a\x01b"), 1, "not of its form"),
        (("instance", "set", "demo", "--env", "A=\udcff"), 2, "argument 5 is not UTF-8"),
        (("person", "create", "eve", "--scope", "king"), 2, "owner or operator"),
        (("operation", "show", "0" * 24), 4, "no operation"),
        (("token", "revoke", "nothing"), 4, "holdfast token list"),
        (("quarantine", "drop", "nothing"), 4, "holdfast quarantine list"),
        (("lesson", "approve", "nothing"), 4, "holdfast lesson list"),
        (("bulk", "stop", "demo", "nobody"), 4, "holdfast instance list"),
        (("charts", "--window", "2y"), 1, "one of 15m"),
        (("charts", "nobody"), 4, "holdfast instance list"),
        (("rehearse", "replay", "demo", "--from", "-1"), 2, "--from"),
        (("rehearse", "what-if", "demo", "--policy", "no_field=1"), 1, "no_field"),
        (("token", "create", "--scope", "king"), 2, "owner or operator"),
        (("instance", "create", "x", "--secret", "A=b"), 2, "does not belong"),
        (("instance", "create", "x", "--env", "A"), 2, "NAME=VALUE"),
        (("instance", "create", "x", "--agent", "nothing"), 1, "demo"),
        (("instance", "create", "demo"), 1, "demo"),
        (("instance", "create"), 2, "Missing argument"),
        (("agents", "install", "nothing"), 1, "openclaw"),
        (("account", "create", "local"), 1, "local"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_fails_says_what_to_do(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_a_destruction_wants_the_name_typed(plane: PlaneProcess) -> None:
    plane.cli("instance", "create", "doomed", "--stopped")
    refused = plane.cli("instance", "destroy", "doomed", given="no\n", code=1)
    assert "nothing was done" in refused.stderr
    assert plane.view("doomed")
    plane.cli("instance", "destroy", "doomed", "--wait", "20", given="doomed\n")
    assert plane.view("doomed") is None
    waited = plane.cli("instance", "create", "slow", "--wait", "0.001", code=5)
    assert "holdfast instance why slow" in waited.stderr
    plane.cli("instance", "destroy", "slow", "--yes", "--wait", "20")


def test_without_a_plane_it_says_how_to_start_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    plane = PlaneProcess(home)
    for words in (("instance", "list"), ("link",), ("operation", "list", "--json")):
        done = plane.cli(*words, code=3)
        assert "holdfast up" in done.stderr
        assert done.stdout == ""
    report = plane.json("doctor", code=3)
    assert report["ok"] is False
    checks = {check["name"]: check["result"] for check in report["checks"]}
    assert checks == {
        "plane": "failed", "folder": "ok", "keys": "ok", "disk": "ok", "stores": "ok",
        "port": "ok", "log": "ok",
    }  # fmt: skip
    home.mkdir(exist_ok=True)
    home.chmod(0o755)
    (home / "plane.log").write_text('{"event":"lease.lost","level":"critical","at":"then"}\n')
    report = plane.json("doctor", code=3)
    found = {check["name"]: check for check in report["checks"]}
    assert found["folder"]["fix"] == f"chmod go-rwx {home}"
    assert "lease.lost" in found["log"]["message"]
    wrong = plane.cli("instance", "list", code=2, HOLDFAST_URL="nonsense")
    assert "HOLDFAST_URL" in wrong.stderr
    away = plane.cli("instance", "list", code=3, HOLDFAST_URL=f"http://127.0.0.1:{free_port()}")
    assert "no answer from" in away.stderr


def test_every_command_has_a_help_text_and_the_first_page_names_all(run: Run) -> None:
    first = run("--help").out
    for name in (*COMMANDS, *NOUNS):
        assert f"  {name} " in first
        told = run(name, "--help")
        assert told.code == 0
        assert "Usage: holdfast" in told.out
    assert "Exit codes" in first
    assert run("nonsense").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_can_be_installed(tmp_path: Path, shell: str) -> None:
    # Typer would otherwise ask the processes above which shell runs this: make's is plain sh.
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    done = subprocess.run(
        (sys.executable, "-m", "holdfast.cli.main", "--show-completion", shell),
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience(30),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"_HOLDFAST_COMPLETE=complete_{shell}" in done.stdout


def test_a_command_loads_only_what_it_needs() -> None:
    heavy = ("rich", "apsw", "duckdb", "asyncio", "argon2", "cryptography", "structlog", "uvicorn")
    code = (
        "import sys; from holdfast.cli.main import make_app; make_app('instance');"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run(
        (sys.executable, "-c", code),
        capture_output=True, text=True, timeout=patience(30), check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_people_are_added_and_what_was_done_is_found_by_whom_and_what(run: Run) -> None:
    assert "holdfast link eve" in run("person", "create", "eve").err
    assert "eve" in run("person", "list").out
    run("rehearse", "dry-run", "demo")
    (item, *_) = json.loads(run("audit", "list", "--instance", "demo", "--json").out)["items"]
    assert (item["endpoint"], item["target_name"]) == ("rehearse.dry-run", "demo")
    assert "person.create" in run("audit", "list").out
    assert "person.create" not in run("audit", "list", "--instance", "demo").out
    assert "Nothing matches." in run("audit", "list", "--who", "nobody").err


def test_a_timeline_is_in_sentences(run: Run) -> None:
    assert "Its agent is ready" in run("instance", "timeline", "demo").out
    assert "MachineReported" in run("instance", "timeline", "demo", "--all").out


@pytest.mark.parametrize(
    ("words", "redirected", "code", "told"),
    [
        ("instance list", ">&-", 0, ""),
        ("instance list", ">&- 2>&-", 0, ""),
        ("instance list", ">/dev/full", 1, "error: the output cannot be written: No space left"),
        ("instance list --json", ">/dev/full", 1, "error: the output cannot be written: No space"),
        ("instance list", ">/dev/full 2>/dev/full", 1, ""),
        ("instance show nobody", "2>/dev/full", 4, ""),
        ("instance destroy demo", "<&-", 1, "Aborted"),
        ("--version", "", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full_are_no_fault(
    plane: PlaneProcess, words: str, redirected: str, code: int, told: str
) -> None:
    line = f"{sys.executable} -m holdfast.cli.main {words} {redirected}"
    ended = subprocess.run(
        ("sh", "-c", line), env=plane.environment | {"PYTHONUNBUFFERED": ""},
        capture_output=True, text=True, check=False, timeout=patience(10),
    )  # fmt: skip
    assert (ended.returncode, "fault of holdfast" in ended.stderr) == (code, False), ended.stderr
    assert told in ended.stderr
