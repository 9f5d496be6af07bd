"""What the observer does differently where a controller runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.machine.controller.observing import protocol
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.lines import LineFile
from holdfast.machine.observer.readers.openclaw import OpenClaw
from holdfast.machine.observer.settings import read_settings


def test_both_proofs_of_a_machine_go_with_its_registration() -> None:
    settings = read_settings({"HOLDFAST_API_KEY": "k", "HOLDFAST_GATEWAY_TOKEN": "t"})
    assert settings.credentials == {"Authorization": "Bearer k", "x-holdfast-gateway-token": "t"}


def test_a_folder_of_the_host_is_not_one_of_the_machine() -> None:
    by_hand = read_settings({"HOME": "/h"})
    assert by_hand.within == ()
    assert Path("/data/logs") in by_hand.log_folders
    found = read_settings({"HOME": "/h", "TMPDIR": "/h/temp", protocol.WITHIN: "/h"})
    assert found.within == (Path("/h"),)
    assert found.log_folders == (Path("/h/temp/openclaw"), Path("/h/.openclaw/logs"))


def test_nothing_outside_is_opened_nor_over_a_link_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home / "deep", other / "deep"):
        folder.mkdir(parents=True)
        (folder / "file").write_text("text")
    (home / "link").symlink_to(other)
    (home / "leaf").symlink_to(other / "deep/file")
    through = home / "link/deep"
    # By hand, the last folder named is where links begin to count.
    assert files.read_whole(through / "file", below=through, limit=9)[0] == b"text"
    monkeypatch.setattr(files, "_within", ())
    files.stay_within((home,))
    assert files.read_whole(home / "deep/file", below=None, limit=9)[0] == b"text"
    for path in (through / "file", home / "leaf", other / "deep/file", home / "../other/deep/file"):
        with pytest.raises(OSError):
            files.read_whole(path, below=path.parent, limit=9)


def test_the_log_that_our_profile_names_is_read_too(tmp_path: Path) -> None:
    for name in ("openclaw.log", "openclaw-2026-11-30.log", "other.log", "openclaw.json"):
        (tmp_path / name).write_text('{"0":"x"}\n')
    openclaw = OpenClaw(
        tmp_path, workspace=tmp_path / "w", log_folders=(tmp_path,), clock=SystemClock()
    )
    found = [
        source.path.name for source in openclaw.sources("logs") if isinstance(source, LineFile)
    ]
    assert sorted(found) == ["openclaw-2026-11-30.log", "openclaw.log"]
