"""The list of what was revoked, beside the keys."""

from __future__ import annotations

import resource
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.accounts.records import Token
from holdfast.corrections.records import BrainKey
from holdfast.stores import revoked
from holdfast.stores.revoked import REVOKED_FILE, note_revoked, read_revoked
from holdfast.stores.sqlite.accounts import open_accounts
from holdfast.stores.sqlite.corrections import open_corrections


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


def test_a_line_that_was_cut_short_takes_none_with_it(tmp_path: Path) -> None:
    (tmp_path / REVOKED_FILE).write_bytes(b"token tok_1\ntoken to")
    note_revoked(tmp_path, "token", "tok_2")
    assert read_revoked(tmp_path, "token") == ["tok_1", "to", "tok_2"]


def test_a_line_that_is_not_written_whole_is_an_error(tmp_path: Path) -> None:
    note_revoked(tmp_path, "token", "tok_1")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = (tmp_path / REVOKED_FILE).stat().st_size + 8
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            note_revoked(tmp_path, "token", "tok_2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_files_name_is_made_durable_by_whoever_comes_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / REVOKED_FILE).touch()  # it was created, and then the power went
    synced: list[object] = []
    monkeypatch.setattr(revoked, "sync_folder", synced.append)
    note_revoked(tmp_path, "token", "tok_1")
    assert synced == [tmp_path]


async def test_an_id_is_in_the_list_before_its_revocation_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {"token": ("accounts.db", "tokens"), "brain-key": ("intake.db", "keys")}
    seen: list[tuple[str, str, int | None]] = []

    def note(folder: Path, kind: revoked.Kind, found: str) -> None:
        note_revoked(folder, kind, found)
        file, table = tables[kind]
        connection = sqlite3.connect(tmp_path / file)
        ((at_ms,),) = connection.execute(f"SELECT revoked_at_ms FROM {table}")
        connection.close()
        seen.append((kind, found, at_ms))

    monkeypatch.setattr(revoked, "note_revoked", note)
    accounts = open_accounts(tmp_path / "accounts.db", now_ms=1, head_in=tmp_path)
    token = Token(
        id="tok_1", hash="h", name="n", scope="operator", account=None, created_at_ms=1,
        created_by="ann",
    )  # fmt: skip
    await accounts.add_token(token)
    assert await accounts.revoke_token("tok_0", None, 2) is None
    await accounts.revoke_token("tok_1", None, 2)
    await accounts.close()
    corrections = open_corrections(tmp_path / "intake.db", now_ms=1, revoked_in=tmp_path)
    await corrections.add_key(BrainKey(id="bk_1", hash="h", name="n", account="a"))
    await corrections.revoke_key("bk_1", 2)
    await corrections.close()
    assert seen == [("token", "tok_1", None), ("brain-key", "bk_1", None)]


async def test_what_cannot_be_noted_is_revoked_and_the_error_told(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    corrections = open_corrections(tmp_path / "intake.db", now_ms=1, revoked_in=keys)
    await corrections.add_key(BrainKey(id="bk_1", hash="h", name="n", account="a"))
    keys.rmdir()
    with pytest.raises(FileNotFoundError):
        await corrections.revoke_key("bk_1", 2)
    await corrections.close()
    with closing(sqlite3.connect(tmp_path / "intake.db")) as connection:
        assert list(connection.execute("SELECT revoked_at_ms FROM keys")) == [(2,)]
