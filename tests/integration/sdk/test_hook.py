"""The recording hook as agents run it: a process, fed on standard input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from holdfast.sdk import Brain
from tests.support.patience import patience

EDIT = {
    "session_id": "s-1",
    "tool_name": "Edit",
    "tool_input": {
        "file_path": "letter.md",
        "old_string": "Dear Sir, write to me@example.org",
        "new_string": "Hello, write to me@example.org",
    },
}


def run_hook(folder: Path, payload: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-I", "-m", "holdfast.sdk.hook", "--agent", "claude-code",
         "--brain", str(folder)),
        input=payload if isinstance(payload, str) else json.dumps(payload),
        env={"HOME": str(folder.parent)},
        capture_output=True, text=True, check=False, timeout=patience(30),
    )  # fmt: skip


def test_an_edit_is_recorded_with_its_session_and_redacted(tmp_path: Path) -> None:
    done = run_hook(tmp_path / "brain", EDIT)
    assert (done.returncode, done.stdout) == (0, "{}\n")
    with Brain(tmp_path / "brain", notice=lambda _text: None) as brain:
        (event,) = [event for event in brain.tail() if event.type == "CORRECTION"]
        assert brain.stats().pending >= 1, "it waits for the SDK to send it; no hook does"
    data = json.loads(event.data)
    assert event.session == "s-1"
    assert data["context"] == "claude-code Edit letter.md"
    assert data["final"].startswith("Hello")
    assert "me@example.org" not in event.data


def test_one_edit_that_is_too_long_takes_no_other_with_it(tmp_path: Path) -> None:
    edits = [
        {"old_string": "a" * 70_000, "new_string": "b" * 70_000},
        {"old_string": "one word", "new_string": "another word"},
    ]
    payload = {"tool_name": "MultiEdit", "tool_input": {"edits": edits}, "session_id": "s" * 200}
    done = run_hook(tmp_path / "brain", payload)
    assert done.stderr.endswith("holdfast: 1 recorded\n")
    with Brain(tmp_path / "brain", notice=lambda _text: None) as brain:
        (event,) = [event for event in brain.tail() if event.type == "CORRECTION"]
    assert event.session is not None
    assert event.session.startswith("sss")
    assert len(event.session) <= 64


def test_what_is_no_edit_costs_nothing(tmp_path: Path) -> None:
    done = run_hook(tmp_path / "brain", {"tool_name": "Bash", "tool_input": {"command": "ls"}})
    assert (done.returncode, done.stdout) == (0, "{}\n")
    assert not (tmp_path / "brain").exists()


def test_an_agent_never_stops_for_a_record(tmp_path: Path) -> None:
    (tmp_path / "brain").write_text("a file where the folder should be")
    for payload in ("not JSON", "[1]", "x" * (5 * 1024 * 1024), EDIT):
        done = run_hook(tmp_path / "brain", payload)
        assert (done.returncode, done.stdout) == (0, "{}\n")
        assert done.stderr.startswith("holdfast: nothing was recorded: ")
        assert len(done.stderr.splitlines()) == 1
