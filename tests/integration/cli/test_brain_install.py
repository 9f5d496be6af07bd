"""`holdfast brain install` in a home of its own: what is written, kept, and taken out again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.wiring import yaml_text
from holdfast.cli.wiring.agents import MARK
from tests.support.command_line import run_command
from tests.support.patience import patience

CLAUDE = """{
  // how I like it
  "model": "opus",
  "hooks": {
    "PostToolUse": [
      {"matcher": "Bash", "hooks": [{"type": "command", "command": "lint"}]}
    ],
    "Stop": [
      {"hooks": [{"type": "command", "command": "python -m gradata.hooks.session_close"}]}
    ]
  }
}
"""
HERMES = """# Hermes
model:
  default: some-model   # cheap
hooks:
  on_session_end:
    - command: python -m gradata.cloud sync --full
    - command: say goodbye
"""


def brain(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return run_command(
        "brain", *words,
        environment={"HOME": str(home), "PATH": str(home / "bin")},
        given=stdin, timeout_s=patience(30),
    )  # fmt: skip


def files(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


PLACES = {
    "claude-code": ".claude/settings.json",
    "codex": ".codex/hooks.json",
    "gemini": ".gemini/settings.json",
    "cursor": ".cursor/hooks.json",
    "hermes": ".hermes/config.yaml",
    "opencode": ".config/opencode/plugins/holdfast-recorder.js",
    "openclaw": ".openclaw/extensions/holdfast-recorder/index.js",
}


@pytest.mark.parametrize("agent", PLACES)
def test_each_agent_is_wired_once_and_unwired_without_a_trace(agent: str, tmp_path: Path) -> None:
    done = brain(tmp_path, "install", "--agent", agent, "--brain", str(tmp_path / "b"))
    assert done.returncode == 0, done.stderr
    wired = (tmp_path / PLACES[agent]).read_text()
    assert MARK in wired
    assert str(tmp_path / "b") in wired
    assert not re.search(r"\bsync", wired), "a hook records; it never synchronises"

    first = files(tmp_path)
    again = brain(tmp_path, "install", "--agent", agent, "--brain", str(tmp_path / "b"))
    assert again.returncode == 0
    assert files(tmp_path) == first
    moved = brain(tmp_path, "install", "--agent", agent, "--brain", str(tmp_path / "c"))
    assert moved.returncode == 0
    assert (tmp_path / PLACES[agent]).read_text().count(MARK) == wired.count(MARK)

    gone = brain(tmp_path, "uninstall", "--agent", agent)
    assert gone.returncode == 0, gone.stderr
    assert {n: t for n, t in files(tmp_path).items() if t.strip()} == {}


def test_what_others_wrote_is_kept_byte_for_byte(tmp_path: Path) -> None:
    settings = tmp_path / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(CLAUDE)
    settings.chmod(0o640)

    done = brain(tmp_path, "install", "--agent", "claude-code")
    assert "An older set-up left" in done.stderr
    assert "Kept." in done.stderr, "without a terminal nothing is taken out unasked"
    assert "// how I like it" in settings.read_text()
    assert settings.stat().st_mode & 0o777 == 0o640
    assert brain(tmp_path, "uninstall", "--agent", "claude-code").returncode == 0
    assert settings.read_text() == CLAUDE


def test_an_older_set_up_is_taken_out_where_that_is_wanted(tmp_path: Path) -> None:
    config = tmp_path / ".hermes" / "config.yaml"
    config.parent.mkdir()
    config.write_text(HERMES)

    done = brain(tmp_path, "install", "--agent", "hermes", "--remove-legacy")
    assert done.returncode == 0, done.stderr
    hooks = yaml_text.plain(config.read_text())["hooks"]
    assert hooks["on_session_end"] == [{"command": "say goodbye"}]
    assert MARK in json.dumps(hooks["post_tool_call"])
    assert "# Hermes" in config.read_text()
    assert "# cheap" in config.read_text()


def test_an_old_cron_line_is_taken_out_and_the_others_stay(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text("# mine\n0 3 * * * backup\n*/5 * * * * gradata-sync-cron --all\n")
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -l ] && exec /bin/cat {table}\nexec /bin/cat > {table}\n'
    )
    program.chmod(0o755)

    done = brain(tmp_path, "install", "--agent", "cursor", "--remove-legacy")
    assert done.returncode == 0, done.stderr
    assert table.read_text() == "# mine\n0 3 * * * backup\n"


def test_a_hook_that_does_more_by_now_is_left_and_told(tmp_path: Path) -> None:
    assert brain(tmp_path, "install", "--agent", "cursor").returncode == 0
    settings = tmp_path / PLACES["cursor"]
    settings.write_text(settings.read_text().replace('brain"', 'brain && notify-send edited"'))
    edited = settings.read_text()
    assert "notify-send" in edited
    done = brain(tmp_path, "uninstall", "--agent", "cursor")
    assert done.returncode == 1
    assert "changed by hand" in done.stderr
    assert "notify-send" in done.stderr
    assert settings.read_text() == edited


def test_cron_lines_of_any_bytes_stay(tmp_path: Path) -> None:
    table = tmp_path / "table"
    others = b"# caf\xe9 \x0c \xe2\x80\xa8\n0 3 * * * backup\n"
    table.write_bytes(others + b"*/5 * * * * gradata-sync-cron --all\n")
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -l ] && exec /bin/cat {table}\nexec /bin/cat > {table}\n'
    )
    program.chmod(0o755)
    done = brain(tmp_path, "install", "--agent", "cursor", "--remove-legacy")
    assert done.returncode == 0, done.stderr
    assert table.read_bytes() == others


def test_a_dry_run_shows_and_writes_nothing(tmp_path: Path) -> None:
    done = brain(tmp_path, "install", "--agent", "gemini", "--dry-run")
    assert done.returncode == 0
    assert f'+{" " * 12}"command"' in done.stdout
    assert not files(tmp_path)


def test_a_file_that_is_not_understood_is_left_alone(tmp_path: Path) -> None:
    settings = tmp_path / ".gemini" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"hooks": [')
    done = brain(tmp_path, "install", "--agent", "gemini")
    assert done.returncode == 1
    assert "To add by hand, under hooks.AfterTool" in done.stderr
    assert settings.read_text() == '{"hooks": ['


def test_an_agent_nobody_knows_is_named(tmp_path: Path) -> None:
    done = brain(tmp_path, "install", "--agent", "nosuch")
    assert done.returncode == 1
    assert "'nosuch'" in done.stderr
    assert "claude-code" in done.stderr


def checks(home: Path) -> list[dict[str, str]]:
    done = brain(home, "doctor", "--json")
    return [check for check in json.loads(done.stdout)["checks"] if check["name"] == "hook"]


@pytest.mark.parametrize("agent", ["claude-code", "hermes", "opencode"])
def test_a_doctor_tells_of_an_installed_hook_that_never_called(agent: str, tmp_path: Path) -> None:
    (tmp_path / ".holdfast" / "brain").mkdir(parents=True)
    assert checks(tmp_path) == []
    assert brain(tmp_path, "install", "--agent", agent).returncode == 0
    (check,) = checks(tmp_path)
    assert check["status"] == "warn"
    assert f"{agent}, {tmp_path / PLACES[agent]}: installed, and no call" in check["detail"]
    called = {agent: {"calls": 1, "recorded": 1, "last_ms": 1, "recorded_ms": 1}}
    (tmp_path / ".holdfast" / "brain" / "hooks.json").write_text(json.dumps(called))
    (check,) = checks(tmp_path)
    assert check["status"] == "ok"
    settings = tmp_path / PLACES[agent]
    settings.write_text(settings.read_text().replace(sys.executable, "/gone/python3"))
    assert any("its program /gone/python3 is gone" in check["detail"] for check in checks(tmp_path))


def test_a_doctor_tells_of_an_agent_that_runs_no_hooks(tmp_path: Path) -> None:
    (tmp_path / ".holdfast" / "brain").mkdir(parents=True)
    settings = tmp_path / PLACES["claude-code"]
    settings.parent.mkdir()
    settings.write_text('{"disableAllHooks": true}')
    assert brain(tmp_path, "install", "--agent", "claude-code").returncode == 0
    (check,) = checks(tmp_path)
    assert "disableAllHooks is set" in check["detail"]
