"""`holdfast brain` on a folder: with a plane that answers, refuses, or is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from holdfast.sdk import Brain
from tests.integration.outbox.intake import HttpIntake
from tests.support.command_line import run_command
from tests.support.patience import patience


def quiet(_text: str) -> None:
    """Take a notice and show nobody."""


def run(
    *words: str,
    home: Path,
    module: str = "holdfast.cli.main",
    env: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], **env}
    if module == "holdfast.cli.main":
        return run_command("brain", *words, environment=environment, timeout_s=patience(40))
    return subprocess.run(
        (sys.executable, "-m", module, *words),
        env=environment,
        capture_output=True, text=True, check=False, timeout=patience(40),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Brain(tmp_path / "brain", notice=quiet, gate=lambda: "the test looks") as brain:
        for session in range(1, 7):
            brain.correct(
                f"Please utilize part {session} now", f"Please use part {session} now",
                category="STYLE", session=session,
            )  # fmt: skip
        brain.close(0)
    return tmp_path / "brain"


@pytest.mark.parametrize("module", ["holdfast.cli.main", "holdfast.sdk"])
def test_the_doctor_says_how_many_wait_and_why(folder: Path, tmp_path: Path, module: str) -> None:
    done = run("doctor", "--brain", str(folder), home=tmp_path, module=module)
    assert "sync_queue: " in done.stdout
    assert "no address" in done.stdout
    assert done.returncode == 1
    told = json.loads(
        run("doctor", "--brain", str(folder), "--json", home=tmp_path, module=module).stdout
    )
    assert told["facts"]["pending"] >= 6
    assert told["status"] == "degraded"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("tail", "--brain", str(tmp_path / "no"), home=tmp_path)
    assert done.returncode == 4
    assert str(tmp_path / "no") in done.stderr
    assert not (tmp_path / "no").exists()


def test_what_was_recorded_is_shown(folder: Path, tmp_path: Path) -> None:
    done = run("tail", "-n", "100", "--json", home=tmp_path, env={"BRAIN_DIR": str(folder)})
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(event["type"] == "CORRECTION" for event in events) == 6
    assert "CORRECTION" in run("tail", home=tmp_path, env={"BRAIN_DIR": str(folder)}).stdout


def test_a_lesson_is_approved_and_rejected_by_how_its_id_begins(
    folder: Path, tmp_path: Path
) -> None:
    listed = json.loads(
        run("rules", "list", "--json", home=tmp_path, env={"BRAIN_DIR": str(folder)}).stdout
    )
    lesson = listed[0]["lesson_id"]
    assert run(
        "rules", "for", "write", home=tmp_path, env={"BRAIN_DIR": str(folder)}
    ).stdout.strip()
    done = run("rules", "approve", lesson[:8], home=tmp_path, env={"BRAIN_DIR": str(folder)})
    assert "is RULE" in done.stdout, done.stderr
    done = run("rules", "reject", lesson, home=tmp_path, env={"BRAIN_DIR": str(folder)})
    assert "is KILLED" in done.stdout
    missing = run("rules", "approve", "nosuch", home=tmp_path, env={"BRAIN_DIR": str(folder)})
    assert missing.returncode == 4


def test_everything_is_sent_for_cron_also_while_a_switch_is_set(
    folder: Path, tmp_path: Path
) -> None:
    waiting = run("sync", "--brain", str(folder), home=tmp_path)
    assert waiting.returncode == 3, waiting.stderr
    assert "no address" in waiting.stderr

    intake = HttpIntake()
    plane = {
        "HOLDFAST_URL": intake.url.partition("/api/")[0],
        "HOLDFAST_API_KEY": "hfb_a_key_of_the_test",
        "HOLDFAST_DISABLE_WRITE_THROUGH": "1",
    }
    try:
        done = run("sync", "--brain", str(folder), "--json", home=tmp_path, env=plane)
        assert done.returncode == 0, done.stderr
        first = json.loads(done.stdout)
        assert first["delivered"] == len(intake.stored) >= 6
        assert first["pending"] == 0
        again = run("sync", "--full", "--brain", str(folder), "--json", home=tmp_path, env=plane)
        assert json.loads(again.stdout)["queued_again"] >= 6
        assert len(intake.stored) == first["delivered"], "the whole record again doubles nothing"
    finally:
        intake.close()


def test_what_was_refused_for_good_is_listed_sent_again_and_dropped(
    folder: Path, tmp_path: Path
) -> None:
    intake = HttpIntake()
    plane = {
        "HOLDFAST_URL": intake.url.partition("/api/")[0],
        "HOLDFAST_API_KEY": "hfb_a_key_of_the_test",
    }
    intake.answer = lambda _body: (422, {}, b'{"detail": "no such brain", "code": "brain"}')
    try:
        assert run("sync", "--brain", str(folder), home=tmp_path, env=plane).returncode == 2
        here = {**plane, "BRAIN_DIR": str(folder)}
        letters = json.loads(run("dead-letters", "list", "--json", home=tmp_path, env=here).stdout)
        assert {letter["status"] for letter in letters} == {422}
        assert "no such brain" in run("dead-letters", "list", home=tmp_path, env=here).stdout

        intake.answer = lambda _body: None
        one = str(letters[0]["row"])
        sent = run("dead-letters", "redrive", one, home=tmp_path, env=here)
        assert sent.stdout.startswith("1 sent again; 0 wait"), sent.stderr
        left = len(letters) - 1
        assert (
            run("dead-letters", "drop", "--yes", home=tmp_path, env=here).stdout
            == f"{left} dropped\n"
        )
        assert (
            json.loads(run("dead-letters", "list", "--json", home=tmp_path, env=here).stdout) == []
        )
    finally:
        intake.close()
