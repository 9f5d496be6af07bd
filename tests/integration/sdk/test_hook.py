"""The recording hook as agents run it: a process, fed on standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from holdfast.sdk import Brain, doctor, hook_tally
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
    return run_words(("--agent", "claude-code", "--brain", str(folder)), folder, payload)


def run_words(
    words: tuple[str, ...], folder: Path, payload: Any
) -> subprocess.CompletedProcess[str]:
    given = payload if isinstance(payload, str | bytes) else json.dumps(payload)
    done = subprocess.run(
        (sys.executable, "-I", "-m", "holdfast.sdk.hook", *words),
        input=given.encode() if isinstance(given, str) else given,
        env={"HOME": str(folder.parent)},
        capture_output=True, check=False, timeout=patience(30),
    )  # fmt: skip
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def hook_check(folder: Path) -> doctor.Check:
    (check,) = [check for check in doctor.examine(folder).checks if check.name == "hook"]
    return check


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


def test_a_hook_that_records_says_how_much_to_a_doctor(tmp_path: Path) -> None:
    run_hook(tmp_path / "brain", EDIT)
    check = hook_check(tmp_path / "brain")
    assert check.status == "ok"
    assert "claude-code: 1 calls, 1 recorded, 0 dropped, 0 not understood" in check.detail


def test_an_edit_in_a_form_that_is_not_known_is_told(tmp_path: Path) -> None:
    run_hook(tmp_path / "brain", EDIT)
    changed = {"tool_name": "Edit", "tool_input": {"file": "a", "before": "x", "after": "y"}}
    done = run_hook(tmp_path / "brain", changed)
    assert (done.returncode, done.stdout) == (0, "{}\n")
    assert "an edit of Edit in a form that is not known (after, before, file)" in done.stderr
    check = hook_check(tmp_path / "brain")
    assert check.status == "warn"
    assert "1 not understood" in check.detail
    assert "a newer holdfast" in check.detail
    run_hook(tmp_path / "brain", EDIT)
    assert hook_check(tmp_path / "brain").status == "ok"


def test_edits_that_are_dropped_are_counted_and_told(tmp_path: Path) -> None:
    (tmp_path / "brain").mkdir()
    pair = {"old_string": "a" * 70_000, "new_string": "b" * 70_000}
    done = run_hook(tmp_path / "brain", {"tool_name": "Edit", "tool_input": pair})
    assert "holdfast: nothing was recorded: draft, final: 140000 characters" in done.stderr
    many = [{"old_string": f"a{n}", "new_string": f"b{n}"} for n in range(60)]
    done = run_hook(tmp_path / "brain", {"tool_name": "MultiEdit", "tool_input": {"edits": many}})
    assert "10 not recorded: more than 50 edits in one call" in done.stderr
    tally = hook_tally.read(tmp_path / "brain")["claude-code"]
    assert (tally.calls, tally.recorded, tally.dropped) == (2, 50, 11)
    run_hook(tmp_path / "brain", "not JSON")
    assert hook_check(tmp_path / "brain").status == "warn"
    assert "12 dropped" in hook_check(tmp_path / "brain").detail


def test_a_folder_that_takes_nothing_is_told_by_the_hook(tmp_path: Path) -> None:
    folder = tmp_path / "brain"
    folder.mkdir()
    (folder / "outbox.lock").mkdir()
    done = run_hook(folder, EDIT)
    assert (done.returncode, done.stdout) == (0, "{}\n")
    assert "holdfast: nothing was recorded: outbox.lock" in done.stderr
    assert hook_check(folder).status == "warn"
    assert "outbox.lock" in hook_check(folder).detail


def test_wrong_arguments_are_no_refusal_of_an_edit(tmp_path: Path) -> None:
    """Exit code 2 of a hook is, to some agents, an edit refused."""
    for words in ((), ("--agent", "x"), ("--agent", "x", "--brain", "b", "--more")):
        done = run_words(words, tmp_path / "brain", EDIT)
        assert (done.returncode, done.stdout) == (0, "{}\n")
        assert "the hook's arguments are wrong; install it again" in done.stderr


def test_an_agent_that_closes_its_end_gets_no_error(tmp_path: Path) -> None:
    words = [sys.executable, "-I", "-m", "holdfast.sdk.hook", "--agent", "x", "--brain"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*words, str(tmp_path / "brain")], input=json.dumps(EDIT).encode(), stdout=writing,
            stderr=subprocess.PIPE, check=False, timeout=patience(30),
        )  # fmt: skip
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert b"1 recorded" in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_a_payload_of_any_bytes_is_recorded(tmp_path: Path) -> None:
    edit = json.dumps(EDIT).encode().replace(b"Hello", b"Hell\xff\xfeo \\ud800 \\u0000")
    done = run_hook(tmp_path / "brain", b"\xef\xbb\xbf" + edit)
    assert "1 recorded" in done.stderr


def test_a_tally_that_is_damaged_begins_anew(tmp_path: Path) -> None:
    run_hook(tmp_path / "brain", EDIT)
    file = tmp_path / "brain" / hook_tally.FILE
    for damage in (b"", b"{", b"[1]", b'{"claude-code": {"calls": "x"}}', b"\xff" * 90_000):
        file.write_bytes(damage)
        assert hook_tally.read(tmp_path / "brain") == {}
        hook_tally.note(tmp_path / "brain", "a", hook_tally.Outcome(recorded=1), now_ms=5)
        assert hook_tally.read(tmp_path / "brain")["a"].calls == 1
    assert file.stat().st_mode & 0o077 == 0


def test_a_call_without_an_edit_says_that_it_kept_nothing_and_is_no_trouble(tmp_path: Path) -> None:
    done = run_hook(tmp_path / "brain", {"tool_name": "Read", "tool_input": {"file_path": "a"}})
    assert (done.returncode, done.stdout) == (0, "{}\n")
    assert done.stderr == "holdfast: nothing was recorded: the call holds no edit\n"
