"""Files opened where the agent writes never lead elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.agents.catalogue import PROFILES
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller.agent.secret_references import RECORD_FILE, put_references
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.files import read_json
from holdfast.machine.controller.process import atomic_file

SECRET = '{"secret": "of the plane"}'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "openclaw").mkdir(parents=True)
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "openclaw.json"
    path.parent.mkdir()
    path.write_text(SECRET)
    return path


def link_file(home: Path, outside: Path) -> None:
    (home / "openclaw" / "openclaw.json").symlink_to(outside)


def link_folder(home: Path, outside: Path) -> None:
    (home / "openclaw").rmdir()
    (home / "openclaw").symlink_to(outside.parent)


def link_home(home: Path, outside: Path) -> None:
    (home / "openclaw").rmdir()
    home.rmdir()
    (outside.parent / "openclaw").mkdir()
    os.link(outside, outside.parent / "openclaw" / "openclaw.json")
    home.symlink_to(outside.parent)


def hard_link(home: Path, outside: Path) -> None:
    os.link(outside, home / "openclaw" / "openclaw.json")


def put_pipe(home: Path, outside: Path) -> None:
    del outside
    os.mkfifo(home / "openclaw" / "openclaw.json")


ATTACKS = [link_file, link_folder, link_home, hard_link, put_pipe]
Attack = Callable[[Path, Path], None]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_link_is_read(home: Path, outside: Path, attack: Attack) -> None:
    attack(home, outside)
    path = home / "openclaw" / "openclaw.json"
    with pytest.raises(OSError):
        atomic_file.read_file(path, 1_000, below=home)
    with pytest.raises(OSError):
        read_json(str(path), below=str(home))


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_link_is_written_through(home: Path, outside: Path, attack: Attack) -> None:
    attack(home, outside)
    try:
        atomic_file.write(home / "openclaw" / "openclaw.json", "ours", below=home)
    except OSError:
        pass
    else:
        assert (home / "openclaw" / "openclaw.json").read_text() == "ours", "the link was replaced"
    assert outside.read_text() == SECRET
    assert [p.name for p in outside.parent.iterdir() if p.is_file()] == ["openclaw.json"]


def test_a_path_does_not_go_up(home: Path, outside: Path) -> None:
    assert outside.exists()
    with pytest.raises(OSError, match="goes up"):
        atomic_file.read_file(
            home / "openclaw" / ".." / ".." / "keys" / "openclaw.json", 99, below=home
        )


@pytest.mark.parametrize("attack", [*ATTACKS, None])
def test_references_are_put_into_the_agents_own_file_alone(
    home: Path, outside: Path, attack: Attack | None, tmp_path: Path
) -> None:
    (home / "openclaw" / RECORD_FILE).unlink(missing_ok=True)
    if attack is not None:
        attack(home, outside)
    place = Place(home=str(home), port=1, token="t", python="python3")
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    try:
        put_references(
            PROFILES["openclaw"], place, {"TELEGRAM_BOT_TOKEN": "1:x"},
            log=Log(ManualClock(1), descriptor),
        )  # fmt: skip
    except OSError:
        assert attack is not None
    else:
        assert attack is None, "a link is refused before anything is written"
        found = json.loads((home / "openclaw" / "openclaw.json").read_text())
        assert found["channels"]["telegram"]["botToken"] == "${TELEGRAM_BOT_TOKEN}"
    finally:
        os.close(descriptor)
    assert outside.read_text() == SECRET
    assert not (outside.parent / RECORD_FILE).exists()
