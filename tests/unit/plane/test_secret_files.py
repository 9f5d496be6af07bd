from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.plane.key_folder import KeysError
from holdfast.plane.wiring.secret_files import read_or_make_secret


def test_a_secret_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key"
    made = read_or_make_secret(path)
    assert len(made) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make_secret(path) == made
    assert [found.name for found in tmp_path.iterdir()] == ["gateway.key"]


@pytest.mark.parametrize("text", ["", "\n", "changeme\n"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeysError, match="not a secret"):
        read_or_make_secret(path)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key"
    read_or_make_secret(path)
    path.chmod(0o640)
    with pytest.raises(KeysError, match="others may read it"):
        read_or_make_secret(path)
