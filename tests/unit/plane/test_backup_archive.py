"""The archive of a backup is whole or refused, and says what is wrong with it."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.plane.backup.archive import entries_of, read_archive, write_archive
from holdfast.plane.backup.keys import covers
from holdfast.plane.backup.manifest import (
    FORMAT,
    MANIFEST,
    BackupError,
    KeysNote,
    Manifest,
    encode_manifest,
)
from holdfast.plane.backup.marker import Marker, read_marker, remove_marker, write_marker

Members = list[tuple[tarfile.TarInfo, bytes]]


def staged(folder: Path) -> dict[str, Path]:
    """Return two files as they would be copied."""
    files = {"journal.db": b"events" * 50_000, "intake.db": b"corrections"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


def manifest(files: dict[str, Path]) -> Manifest:
    return Manifest(
        id="b1",
        made_at="2026-11-30T05:00:00.000Z",
        version="9.9.9",
        sqlite="3.54.1",
        host="here",
        home="/home/of/it",
        files=entries_of(files),
        stores=(),
        keys=KeysNote(included=False),
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "stage").mkdir()
    files = staged(tmp_path / "stage")
    path = tmp_path / "backup.tar.gz"
    write_archive(path, manifest(files), files, lambda _: None)
    return path


def change(path: Path, how: Callable[[Members], Members]) -> None:
    """Write an archive again with other members."""
    with tarfile.open(path, "r:gz") as tar:
        members: Members = []
        for info in tar:
            source = tar.extractfile(info)
            members.append((info, b"" if source is None else source.read()))
    with tarfile.open(path, "w:gz") as tar:
        for info, content in how(members):
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def renamed(member: tuple[tarfile.TarInfo, bytes], name: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    return info, member[1]


def test_what_was_written_is_read_and_only_its_owner_may(archive: Path, tmp_path: Path) -> None:
    into = tmp_path / "out"
    into.mkdir()
    found = read_archive(archive, into=into)
    assert found.version == "9.9.9"
    assert (into / "journal.db").read_bytes() == (tmp_path / "stage/journal.db").read_bytes()
    for path in (archive, *into.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.tar.gz", "out", "stage"]


def test_an_archive_is_never_written_over(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    files = staged(tmp_path / "stage")
    with pytest.raises(BackupError, match="is there already"):
        write_archive(archive, manifest(files), files, lambda _: None)
    assert archive.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.tar.gz", "stage"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_one_that_ends_too_early_is_refused(archive: Path, share: float) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BackupError):
        read_archive(archive)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda m: [m[0], (m[1][0], m[1][1][:-1] + b"!"), m[2]], "not what the manifest says"),
        (lambda m: [m[0], (m[1][0], m[1][1][:-1]), m[2]], "not what the manifest says"),
        (lambda m: m[:2], "is missing"),
        (lambda m: m[1:], "no backup of Holdfast"),
        (lambda m: [*m, renamed(m[1], "../journal.db")], "not of a backup"),
        (lambda m: [*m, renamed(m[1], "accounts.db")], "not of a backup"),
        (lambda m: [*m, m[1]], "or there twice"),
        (lambda m: [(m[0][0], b"{}"), *m[1:]], "not that of a backup"),
    ],
    ids=["changed", "cut", "missing", "no manifest", "path", "unnamed", "twice", "empty"],
)
def test_what_is_not_as_the_manifest_says_is_refused(
    archive: Path, how: Callable[[Members], Members], says: str
) -> None:
    change(archive, how)
    with pytest.raises(BackupError, match=says):
        read_archive(archive)


def test_a_name_that_no_backup_has_is_refused_although_its_manifest_has_it(
    archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "evil").write_bytes(b"x")
    made = manifest({"../evil": tmp_path / "evil"})

    def how(_: Members) -> Members:
        return [
            (tarfile.TarInfo(MANIFEST), encode_manifest(made)),
            (tarfile.TarInfo("../evil"), b"x"),
        ]

    change(archive, how)
    with pytest.raises(BackupError, match="not of a backup"):
        read_archive(archive)


def test_a_newer_form_is_refused_by_the_name_of_its_version(archive: Path) -> None:
    def how(members: Members) -> Members:
        made = msgspec.json.decode(members[0][1], type=Manifest)
        newer = encode_manifest(replace(made, format=FORMAT + 1))
        return [(members[0][0], newer), *members[1:]]

    change(archive, how)
    with pytest.raises(BackupError, match=r"made by Holdfast 9\.9\.9") as caught:
        read_archive(archive)
    assert "9.9.9" in caught.value.fix


@pytest.mark.parametrize(
    ("present", "backup", "good"),
    [
        (("a",), ("a",), True),
        (("a", "b"), ("a",), True),
        (("a",), ("a", "b"), False),
        (("b", "a"), ("a",), False),
        ((), ("a",), False),
        (("b",), (), True),
    ],
)
def test_a_ring_opens_a_backup_with_all_its_keys_and_the_same_root(
    present: tuple[str, ...], backup: tuple[str, ...], *, good: bool
) -> None:
    one, other = (KeysNote(included=False, ring=ring) for ring in (present, backup))
    assert covers(one, other) is good


def test_a_restore_that_was_broken_off_is_told(tmp_path: Path) -> None:
    assert read_marker(tmp_path) is None
    write_marker(tmp_path, Marker(id="r", phase="replacing"))
    with pytest.raises(BackupError, match="broken off"):
        read_marker(tmp_path)
    done = Marker(id="r", phase="restored", unknown="end")
    write_marker(tmp_path, done)
    assert read_marker(tmp_path) == done
    remove_marker(tmp_path)
    assert list(tmp_path.iterdir()) == []
