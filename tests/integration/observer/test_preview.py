"""The preview prints what would be sent, redacted, and opens no connection; the entry point."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.controller.observing.protocol import ALREADY_RUNS
from holdfast.machine.observer.settings import read_settings
from holdfast.wire.consent import CLASSES
from holdfast.wire.observing import bytes_text
from tests.integration.observer.conftest import Home, Running
from tests.support.patience import patience
from tests.support.recording_plane import RecordingPlane


def run(running: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast.machine.observer", *arguments],
        env=running.environment(),
        capture_output=True,
        text=True,
        timeout=patience(30),
        check=False,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_preview_shows_every_class_and_sends_and_changes_nothing(
    home: Home, plane: RecordingPlane, observer: Running
) -> None:
    for number in range(300):
        home.say("s1", f"hello {number} from jo@example.org \\u001b[31m")
    home.log("started")
    home.remember("MEMORY.md", "likes tea")
    folder = home.sessions.parent / "agent"
    folder.mkdir()
    database = sqlite3.connect(folder / "openclaw-agent.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = wal")
    database.execute(
        "CREATE TABLE transcript_events"
        " (session_id TEXT, seq INTEGER, event_json TEXT, created_at INTEGER)"
    )
    database.execute("INSERT INTO transcript_events VALUES ('s2', 1, '{}', 1795226324570)")
    database.close()
    before = files_of(home.path)
    done = run(observer, "preview")
    assert done.returncode == 0, done.stderr
    table, _, samples = done.stdout.partition("\n\n")
    rows = [line.split() for line in table.splitlines()]
    assert [row[0] for row in rows] == ["class", *CLASSES]
    assert rows[1][:3] == ["counters", "1", "1"]
    assert '"turns": 300' in samples
    assert rows[3][:3] == ["transcripts", "2", "301"]
    assert rows[4][:3] == ["logs", "1", "1"]
    assert len({len(line) for line in table.splitlines()[1:]}) == 1
    assert "jo@" not in done.stdout
    assert "[mail]" in samples
    assert "\x1b" not in done.stdout
    assert files_of(home.path) == before
    assert plane.socket_bytes == 0


def test_a_preview_of_some_days_leaves_out_what_is_older(home: Home, observer: Running) -> None:
    home.say("s1", "old", at="2001-01-01T00:00:00Z")
    assert run(observer, "preview", "--days", "2").stdout.splitlines()[3].split()[:3] == [
        "transcripts", "1", "0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["x"], ["preview", "--days"], ["preview", "--days", "x"], ["preview", "--days", "\u00b2"],
        ["preview", "--days", "2", "3"],
    ],
)  # fmt: skip
def test_a_wrong_command_line_says_how(observer: Running, arguments: list[str]) -> None:
    done = run(observer, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")


def test_one_observer_runs_in_a_folder_and_ends_cleanly(
    home: Home, plane: RecordingPlane, observer: Running
) -> None:
    observer.start()
    second = run(observer)
    assert second.returncode == ALREADY_RUNS
    assert "observer.already_runs" in second.stdout
    assert observer.stop() == 0
    assert '"observer.ended"' in observer.log()


def test_sizes_have_units() -> None:
    told = [bytes_text(size) for size in (0, 999, 1_000, 1_500_000, 10**15)]
    assert told == ["0 B", "999 B", "1.0 kB", "1.5 MB", "1000.0 TB"]


def test_ours_win_over_the_names_of_existing_observers() -> None:
    settings = read_settings(
        {
            "HOME": "/h",
            "CLAWMETRY_INGEST_URL": "https://old.example",
            "HOLDFAST_PLANE_URL": "https://ours.example/",
            "OPENCLAW_HOME": "/oc",
            "HOLDFAST_API_KEY": "k",
        }
    )
    assert settings.url == "https://ours.example"
    assert settings.openclaw == Path("/oc/.openclaw")
    assert settings.folder == Path("/h/.holdfast/observer")
    assert settings.credentials == {"Authorization": "Bearer k"}
    assert read_settings({"HOME": "/h", "CLAWMETRY_ENDPOINT": "https://x"}).url == "https://x"


class Names(dict[str, str]):
    """An environment that notes which variables were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return default


def test_every_variable_that_is_read_is_in_the_documentation() -> None:
    environ = Names()
    read_settings(environ)
    assert len(environ.asked) > 15
    text = (Path(__file__).parents[3] / "docs/observer.md").read_text()
    _, _, settings = text.partition("\n## Settings\n")
    named = settings.partition("\n## ")[0]
    assert [name for name in sorted(environ.asked) if f"`{name}`" not in named] == []
