"""The list of what was revoked, beside the keys."""

from __future__ import annotations

import stat
from pathlib import Path

from holdfast.stores.revoked import REVOKED_FILE, note_revoked, read_revoked


def test_ids_are_read_by_kind_and_once(tmp_path: Path) -> None:
    assert read_revoked(tmp_path, "token") == []
    for found in ("tok_1", "tok_2", "tok_1"):
        note_revoked(tmp_path, "token", found)
    note_revoked(tmp_path, "brain-key", "bk_1")
    assert read_revoked(tmp_path, "token") == ["tok_1", "tok_2"]
    assert read_revoked(tmp_path, "brain-key") == ["bk_1"]
    assert stat.S_IMODE((tmp_path / REVOKED_FILE).stat().st_mode) == 0o600


def test_what_is_no_line_of_ours_is_skipped(tmp_path: Path) -> None:
    (tmp_path / REVOKED_FILE).write_bytes(b"\xff\xfe\n\ntoken\ntoken \nother x\ntoken tok_1\ntok")
    assert read_revoked(tmp_path, "token") == ["tok_1"]
