"""What is made durable, and which errors are told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.disk import durable_file
from holdfast.disk.durable_file import StrPath, sync_names


def refuse(code: int, at: Path) -> Callable[[StrPath], None]:
    """Return a sync of folders that fails for one, as a disk or a permission would."""

    def sync_folder(folder: StrPath) -> None:
        if Path(folder) == at:
            raise OSError(code, os.strerror(code), str(folder))

    return sync_folder


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_name_that_a_disk_did_not_keep_is_an_error(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_file, "sync_folder", refuse(code, tmp_path.parent))
    with pytest.raises(OSError, match=os.strerror(code)):
        sync_names(tmp_path / "one" / "two")


def test_a_folder_that_may_not_be_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_file, "sync_folder", refuse(errno.EACCES, tmp_path.parent))
    sync_names(tmp_path / "one" / "two")
