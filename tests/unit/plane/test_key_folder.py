"""Keys lie outside of the data folder, and get there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.plane.key_folder import (
    GATEWAY_FILE,
    KEY_FILES,
    KEYRING_FILE,
    TOKEN_FILE,
    KeysError,
    find_keyring,
    prepare_keys,
)
from holdfast.plane.settings import SettingError, Settings, load_settings
from holdfast.plane.wiring.clouds import make_confine
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.plane.wiring.secret_files import open_keys

CONTENTS = {name: f"the content of {name}\n".encode() for name in KEY_FILES}


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """Return the settings of a data folder with its keys inside, as they were before."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name, content in CONTENTS.items():
        (home / name).write_bytes(content)
        (home / name).chmod(0o600)
    return load_settings({}, home=str(home))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_files_of_the_old_place_are_moved_once(old: Settings) -> None:
    for _ in range(2):
        keys = prepare_keys(old)
        assert keys == Path(old.home + ".keys")
        assert keys.stat().st_mode & 0o777 == 0o700
        assert contents(keys) == CONTENTS
        assert all((keys / name).stat().st_mode & 0o777 == 0o600 for name in KEY_FILES)
        (left,) = contents(Path(old.home)).items()
        assert left[0] == KEYRING_FILE
        assert str(keys).encode() in left[1], "the old place says where it is"


class CutError(Exception):
    """The machine stops here."""


def _cut_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Stop at the n-th step that changes the disk; return whether it came to that."""
    taken = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **more: object) -> object:
            nonlocal taken
            taken += 1
            if taken == number:
                raise CutError
            return real(*args, **more)

        return step

    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    return lambda: taken >= number


def test_a_crash_at_any_step_loses_nothing(old: Settings) -> None:
    home, keys = Path(old.home), old.keys_folder
    for number in range(1, 100):
        for name, content in CONTENTS.items():
            (home / name).write_bytes(content)
            (keys / name).unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            was_cut = _cut_at(number, patch)
            with contextlib.suppress(CutError):
                prepare_keys(old)
        for name, content in CONTENTS.items():
            there = [p.read_bytes() for p in (home / name, keys / name) if p.exists()]
            assert content in there, (number, name)
        prepare_keys(old)
        assert contents(keys).items() >= CONTENTS.items()
        if not was_cut():
            break
    else:
        pytest.fail("it never came to its end")
    assert number > 10


def test_a_file_that_is_in_both_places_is_one_or_refused(old: Settings) -> None:
    home, keys = Path(old.home), prepare_keys(old)
    (home / GATEWAY_FILE).write_bytes(CONTENTS[GATEWAY_FILE])
    prepare_keys(old)
    assert not (home / GATEWAY_FILE).exists()
    for name in (KEYRING_FILE, GATEWAY_FILE):
        (home / name).write_bytes(b"another")
        with pytest.raises(KeysError) as caught:
            prepare_keys(old)
        assert str(home / name) in str(caught.value)
        assert str(keys / name) in str(caught.value)
        assert (keys / name).read_bytes() == CONTENTS[name]
        assert (home / name).read_bytes() == b"another"
        (home / name).unlink()


def test_what_is_no_plain_file_is_not_moved(old: Settings, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    (Path(old.home) / GATEWAY_FILE).rename(aside)
    (Path(old.home) / GATEWAY_FILE).symlink_to(aside)
    with pytest.raises(KeysError, match="is a link; move the file that it stands for"):
        prepare_keys(old)
    (Path(old.home) / GATEWAY_FILE).unlink()
    os.mkfifo(Path(old.home) / GATEWAY_FILE)
    with pytest.raises(KeysError, match="no regular file"):
        prepare_keys(old)
    assert aside.read_bytes() == CONTENTS[GATEWAY_FILE]


@pytest.mark.parametrize("inside", ["", "/keys", "/a/../b", "/.."])
def test_keys_and_data_folder_never_overlap(tmp_path: Path, inside: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(SettingError, match=r"HOLDFAST_KEYS.*outside"):
        load_settings({"HOLDFAST_HOME": str(home), "HOLDFAST_KEYS": f"{home}{inside}"})


def test_a_link_into_the_data_folder_is_inside_of_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    chosen = load_settings({}, home=str(home))
    (home / "hidden").mkdir(parents=True)
    chosen.keys_folder.symlink_to(home / "hidden")
    with pytest.raises(SettingError, match="HOLDFAST_KEYS"):
        prepare_keys(chosen)


def test_a_folder_that_is_not_ours_alone_is_refused(tmp_path: Path) -> None:
    chosen = load_settings({}, home=str(tmp_path / "home"), keys=str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o750)
    with pytest.raises(KeysError, match="chmod 700"):
        prepare_keys(chosen)
    (tmp_path / "mine").rmdir()
    (tmp_path / "mine").write_text("in the way")
    with pytest.raises(KeysError, match=r"HOLDFAST_KEYS: .* cannot be made"):
        prepare_keys(chosen)


def test_a_mount_of_its_own_has_no_place_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "volume"
    home.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(home))
    with pytest.raises(KeysError, match="set HOLDFAST_KEYS"):
        prepare_keys(load_settings({}, home=str(home)))
    chosen = load_settings({}, home=str(home), keys=str(tmp_path / "kept"))
    assert prepare_keys(chosen) == tmp_path / "kept"


def test_a_journal_without_its_key_ring_gets_no_other_one(old: Settings) -> None:
    home = Path(old.home)
    (home / KEYRING_FILE).unlink()
    (home / GATEWAY_FILE).unlink()
    ring, secret, plane_key, consent_key = open_keys(old, now_ms=1)
    assert secret.reveal()
    assert str(old.keys_folder) in (home / KEYRING_FILE).read_text(), "an older version stops at it"
    again, same, same_plane, same_consent = open_keys(old, now_ms=2)
    assert (again.newest, same) == (ring.newest, secret)
    assert same_plane.derive("x") == plane_key.derive("x")
    assert same_consent.public_key == consent_key.public_key
    (home / JOURNAL_FILE).touch()
    assert find_keyring(old) == old.keys_folder / KEYRING_FILE
    (old.keys_folder / KEYRING_FILE).unlink()
    assert find_keyring(old) is None, "the note in the old place is no key ring"
    with pytest.raises(KeysError) as caught:
        open_keys(old, now_ms=3)
    text = str(caught.value)
    assert str(old.keys_folder / KEYRING_FILE) in text
    assert "holdfast keys new --lose-secrets" in text
    assert not (old.keys_folder / KEYRING_FILE).exists()


def test_the_token_of_a_forgotten_data_folder_goes(old: Settings) -> None:
    keys = prepare_keys(old)
    (keys / KEYRING_FILE).unlink()
    (keys / GATEWAY_FILE).unlink()
    open_keys(old, now_ms=1)
    assert not (keys / TOKEN_FILE).exists(), "there is no store of people that would know it"


def test_confinement_hides_the_keys_and_nobody_can_grant_them(tmp_path: Path) -> None:
    home, keys = tmp_path / "home", tmp_path / "elsewhere" / "keys"
    chosen = load_settings({}, home=str(home), keys=str(keys))
    hidden = make_confine(home, chosen, "http://127.0.0.1:8700").hidden
    assert set(hidden) == {str(home), str(keys)}
    for name in ("confine_read", "confine_write"):
        for path in (keys, keys / "x", keys.parent, home):
            with pytest.raises(SettingError, match="must not see"):
                load_settings({}, home=str(home), keys=str(keys), **{name: str(path)})
