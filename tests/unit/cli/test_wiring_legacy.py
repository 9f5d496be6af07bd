"""Recognising remains of an older set-up, as opposed to a person's own work."""

from __future__ import annotations

import pytest

from holdfast.cli.wiring import legacy


@pytest.mark.parametrize(
    "command",
    [
        "python -m gradata.hooks.session_close",
        "gradata sync --full",
        "gradata cloud sync-pull",
        "python -m gradata.cloud sync --full",
        "/usr/local/bin/gradata-sync-cron --all",
    ],
)
def test_what_only_synchronises_can_be_taken_out(command: str) -> None:
    assert legacy.is_sync({"command": command})
    assert legacy.is_sync({"hooks": [{"type": "command", "command": command}]})
    assert legacy.cron_lines(f"*/5 * * * * {command}\n# {command}\n") == [f"*/5 * * * * {command}"]


@pytest.mark.parametrize(
    "command",
    [
        "rclone copy ~/gradata-brain nextcloud:backup",
        "./notify.sh && python -m gradata.hooks.session_close",
        "gradata sync; say done",
        "gradata sync | tee log",
        "python -m gradata.hooks.auto_correct",
        "tar c ~/.gradata",
    ],
)
def test_a_persons_own_work_stays(command: str) -> None:
    assert not legacy.is_sync({"command": command})
    assert legacy.cron_lines(f"0 3 * * * {command}\n") == []


def test_an_entry_with_other_work_in_it_stays() -> None:
    both = [{"command": "gradata sync"}, {"command": "say goodbye"}]
    assert not legacy.is_sync({"hooks": both})
    assert not legacy.is_sync({"hooks": []})
