"""No value of a secret, a URL or a setting reaches a terminal or a log, however malformed it is.

Each variable, file and option gets a canary, with a newline and without; every command, what the
SDK starts, and the controller's boot are run with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from holdfast.cli import main as command_line
from holdfast.machine.controller.__main__ import main as controller
from holdfast.machine.controller.settings import process_environment
from holdfast.plane.settings import Settings
from holdfast.sdk import Brain, doctor
from tests.support.command_line import run_command
from tests.support.forks import Fork
from tests.support.patience import patience
from tests.support.planes import until
from tests.support.ports import free_port

CANARY = "cAnArY7f3e"
BROKEN = f"{CANARY}\n{CANARY}"
PLACES = ("home", "keys")
"""Settings that are paths: these are shown, because whoever reads has to find them."""

SERVES = {("up",), ("serve",), ("down",)}
"""Commands that start or stop a plane, run in processes of their own below."""


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command, with an argument for each that it wants."""
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from leaves(each, (*words, name))
    elif words not in SERVES:
        wanted: list[str] = []
        for param in command.params:
            if param.required:
                option = [max(param.opts, key=len)] if param.param_type_name == "option" else []
                wanted += [*option, "1"]
        yield (*words, *wanted)


COMMANDS = sorted(leaves(typer.main.get_command(command_line.make_app())))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run with a home, a data folder and an environment of the test's own."""
    for name in [name for name in os.environ if name.startswith(("HOLDFAST_", "GRADATA_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data.keys").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOLDFAST_URL", "http://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> str:
    """Run a command in this process; return all that it said."""
    hooks = sys.excepthook, sys.unraisablehook
    try:
        with pytest.raises(SystemExit):
            command_line.main(words)
    finally:
        sys.excepthook, sys.unraisablehook = hooks
    told = capfd.readouterr()
    return told.out + told.err


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) > 40
    assert ("instance", "list") in COMMANDS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_TOKEN", BROKEN),
        ("HOLDFAST_TOKEN", f"{CANARY}\u20ac\x00"[:-1]),
        ("HOLDFAST_URL", f"http://me:{CANARY}@127.0.0.1:1"),
        ("HOLDFAST_URL", f"http://127.0.0.1:1/{CANARY}?{CANARY}"),
        ("HOLDFAST_URL", f"http://127.0.0.1:1/{CANARY}"),
        ("HOLDFAST_URL", BROKEN),
        ("HOLDFAST_API_KEY", BROKEN),
    ],
)
def test_no_command_tells_a_malformed_secret(
    name: str,
    value: str,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    for words in COMMANDS:
        told = run(words, capfd)
        assert CANARY not in told, (words, told)
        assert "Traceback" not in told, (words, told)


@pytest.mark.parametrize("name", sorted(set(Settings.__struct_fields__) - set(PLACES)))
def test_no_setting_is_quoted(
    name: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOLDFAST_URL")
    for value in (BROKEN, CANARY, f"https://me:{CANARY}@x", f"/{CANARY}:{CANARY}"):
        monkeypatch.setenv(f"HOLDFAST_{name.upper()}", value)
        for words in (("doctor",), ("instance", "list"), ("keys", "new")):
            told = run(words, capfd)
            assert CANARY not in told, (words, told)
            assert "Traceback" not in told, (words, told)


@pytest.mark.parametrize(
    "file", ["cli.token", "plane.key", "gateway.key", "keyring.json", "consent.key"]
)
def test_no_file_of_keys_is_quoted(
    file: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = elsewhere / "data.keys" / file
    ring = json.dumps({"version": 1, "keys": [{"id": CANARY, "key": CANARY, "created_ms": 1}]})
    contents = (BROKEN, f"{CANARY}\u20ac", json.dumps({CANARY: 1}), ring)
    for content in contents:
        path.write_text(content)
        path.chmod(0o600)
        told = "".join(run(words, capfd) for words in COMMANDS if words[0] in {"link", "instance"})
        done = run_command(
            "serve",
            environment={**os.environ, "HOLDFAST_PORT": "0", "HOLDFAST_KEYS": str(path.parent)},
            timeout_s=patience(60),
        ) if file != "cli.token" else None  # fmt: skip
        told += "" if done is None else done.stdout + done.stderr
        assert done is None or done.returncode == 1, "the plane does not start on it"
        assert CANARY not in told
        assert "Traceback" not in told


@pytest.mark.parametrize("name", ["TOKEN", "HOST", "GATEWAY_TOKEN_SECRET", "PUBLIC_URL", "CLOUD"])
def test_a_plane_that_cannot_start_does_not_say_with_what(name: str, elsewhere: Path) -> None:
    for words in (("serve",), ("up", "--no-agent")) if name != "TOKEN" else (("down",),):
        done = run_command(
            *words,
            environment={**os.environ, f"HOLDFAST_{name}": BROKEN, "HOLDFAST_PORT": "0"},
            timeout_s=patience(60),
        )
        log = elsewhere / "data" / "plane.log"
        told = done.stdout + done.stderr + (log.read_text() if log.exists() else "")
        assert CANARY not in told
        assert "Traceback" not in told


@pytest.mark.parametrize("where", ["argument", "HOLDFAST_API_KEY", "HOLDFAST_URL", "file"])
def test_the_sdk_tells_no_key(
    where: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {"url": "http://127.0.0.1:1"}
    monkeypatch.delenv("HOLDFAST_URL")
    if where == "argument":
        given["api_key"] = BROKEN
    elif where == "file":
        path = elsewhere / "brain.json"
        path.write_text(json.dumps({"url": "http://127.0.0.1:1", "api_key": BROKEN}))
        path.chmod(0o600)
        monkeypatch.setenv("HOLDFAST_KEY_FILE", str(path))
        given = {}
    else:
        url = f"http://me:{CANARY}@127.0.0.1:1/{CANARY}"
        monkeypatch.setenv(where, url if where == "HOLDFAST_URL" else BROKEN)
        if where == "HOLDFAST_URL":
            given = {"api_key": "hfb_good"}
    with Brain(elsewhere / "brain", **given) as brain:
        brain.correct("one text", "another text")
        told = repr(brain.sync())
    told += "\n".join(doctor.examine(elsewhere / "brain", **given).lines())
    for command in ("doctor", "sync"):
        done = subprocess.run(
            (sys.executable, "-m", "holdfast.sdk", command, "--brain", elsewhere / "brain"),
            capture_output=True, text=True, check=False, timeout=patience(60),
        )  # fmt: skip
        told += done.stdout + done.stderr
    told += "".join(capfd.readouterr())
    assert CANARY not in told
    assert "Traceback" not in told


CONTROLLER = (
    "HOLDFAST_API_KEY", "HOLDFAST_GATEWAY_TOKEN", "HOLDFAST_PROXY_TOKEN", "HOLDFAST_AGENT_TOKEN",
    "HOLDFAST_PLANE_URL", "HOLDFAST_CHECKIN_URL", "HOLDFAST_CHECKIN_FIRST_MS",
    "HOLDFAST_CONTROLLER_PORT", "HOLDFAST_SUPERVISION", "HOLDFAST_AGENT_ARGS", "HOLDFAST_ENV_KEY",
    "HOLDFAST_ENC_X", "KILOCLAW_ENC_X",
)  # fmt: skip


TOLD = ("cannot_report", "cannot_listen", "degraded", "ready")


@pytest.mark.parametrize("name", CONTROLLER)
def test_a_controller_boots_without_telling_a_malformed_value(name: str, tmp_path: Path) -> None:
    given = {key: text for key, text in process_environment().items() if "HOLDFAST" not in key}
    given |= {
        "HOLDFAST_MACHINE_HOME": str(tmp_path), "HOLDFAST_CONTROLLER_PORT": "0",
        "HOLDFAST_PLANE_URL": "http://127.0.0.1:1", "HOLDFAST_API_KEY": "good",
        "HOLDFAST_GATEWAY_TOKEN": "good", "HOLDFAST_AGENT": "demo",
        "HOLDFAST_AGENT_PORT": str(free_port()), name: BROKEN,
    }  # fmt: skip
    log = tmp_path / "log"
    log.touch()
    process = Fork(controller, environment=given, files=(Path(os.devnull), log, log))
    try:
        until(
            "the controller says what is wrong, or that it runs",
            lambda: (
                process.poll() is not None
                or any(f"controller.{word}" in log.read_text() for word in TOLD)
            ),
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(patience(30))
    told = log.read_text()
    assert CANARY not in told
    assert "Traceback" not in told
