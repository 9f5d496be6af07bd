"""The archive of a backup: a tar, packed with gzip, written whole or not at all.

What is read is not trusted: only names that a backup may have are taken, nothing is unpacked by the
paths of the archive, and each file must be the one of which the manifest has size and hash.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from holdfast.disk.durable_file import give_name, sync_file
from holdfast.kernel.failure import brief
from holdfast.plane.backup.manifest import (
    MANIFEST,
    MANIFEST_BYTES_MAX,
    BackupError,
    Entry,
    Manifest,
    decode_manifest,
    digest_of,
    encode_manifest,
)
from holdfast.plane.consent_key import CONSENT_KEY_FILE
from holdfast.plane.key_folder import GATEWAY_FILE, KEYRING_FILE
from holdfast.plane.settings import FILE_NAME
from holdfast.plane.wiring.holder import (
    ACCOUNTS_FILE,
    CONTENT_FILE,
    CORRECTIONS_FILE,
    JOURNAL_FILE,
    PRICES_FILE,
    TOWNS_FILE,
)

NAMES: Final = frozenset(
    {
        ACCOUNTS_FILE, CONTENT_FILE, CORRECTIONS_FILE, JOURNAL_FILE, FILE_NAME, GATEWAY_FILE,
        KEYRING_FILE, CONSENT_KEY_FILE, PRICES_FILE, TOWNS_FILE,
    }
)  # fmt: skip
"""Every file that a backup may have besides its manifest."""

COMPRESSION: Final = 4
"""Level of gzip: a journal shrinks nearly as much as with 9, in a third of the time."""

_CHUNK: Final = 1_048_576
_UNREADABLE: Final = (tarfile.TarError, zlib.error, EOFError, OSError)

Tell = Callable[[str], None]


def entries_of(staged: Mapping[str, Path]) -> tuple[Entry, ...]:
    """Return the manifest's entries of staged files, by their names in the archive."""
    return tuple(
        Entry(name=name, bytes=path.stat().st_size, sha256=digest_of(path))
        for name, path in staged.items()
    )


def write_archive(target: Path, manifest: Manifest, staged: Mapping[str, Path], tell: Tell) -> None:
    """Write the archive at `target`, read it again, and only then give it its name."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with (
            os.fdopen(os.open(draft, flags, 0o600), "w+b") as file,
            tarfile.open(fileobj=file, mode="w:gz", compresslevel=COMPRESSION) as tar,
        ):
            _add(tar, MANIFEST, encode_manifest(manifest))
            for name, path in staged.items():
                tell(f"packing {name}")
                _add_file(tar, name, path)
        sync_file(draft)
        tell("reading the archive again")
        read_archive(draft)
        _give_name(draft, target)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _give_name(draft: Path, target: Path) -> None:
    """Name the finished archive; an archive that is there already is never replaced."""
    try:
        give_name(draft, target)
    except FileExistsError:
        raise BackupError(f"{target} is there already", fix="name another file") from None


def read_archive(path: Path, into: Path | None = None) -> Manifest:
    """Return the manifest of an archive of which every hash fits; unpack it into a folder if given.

    Raise BackupError, which says what is wrong with it.
    """
    with _reading(path) as tar:
        members = iter(tar)
        manifest = _first(path, tar, members)
        wanted = {entry.name: entry for entry in manifest.files}
        for member in members:
            entry = wanted.pop(member.name, None)
            if entry is None or member.name not in NAMES or not member.isreg():
                raise BackupError(f"{path}: {member.name!r} is not of a backup, or there twice")
            source = tar.extractfile(member)
            if source is None:
                raise BackupError(f"{path}: {entry.name} cannot be read")
            _check(path, entry, source, None if into is None else into / entry.name)
    if wanted:
        raise BackupError(f"{path}: {', '.join(sorted(wanted))} is missing", fix=_ANOTHER)
    return manifest


_ANOTHER: Final = "take another backup: this one is damaged"


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive for reading; what is wrong with it is a BackupError."""
    try:
        with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
            yield tar
            while packed.read(_CHUNK):  # to its end, where the sum of it all is compared
                pass
    except FileNotFoundError:
        raise BackupError(f"{path}: there is no such file") from None
    except _UNREADABLE as error:
        raise BackupError(f"{path}: {brief(error)}", fix=_ANOTHER) from error


def _first(path: Path, tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo]) -> Manifest:
    """Return the manifest, which comes first."""
    member = next(members, None)
    if member is None or member.name != MANIFEST or not member.isreg():
        raise BackupError(
            f"{path}: this is no backup of Holdfast: {MANIFEST} is not its first file"
        )
    if member.size > MANIFEST_BYTES_MAX:
        raise BackupError(f"{path}: {MANIFEST} has {member.size} bytes")
    source = tar.extractfile(member)
    return decode_manifest(b"" if source is None else source.read())


def _check(path: Path, entry: Entry, source: IO[bytes], target: Path | None) -> None:
    """Read one file, into `target` if given; raise BackupError unless it is what it should be."""
    digest, size = hashlib.sha256(), 0
    sink = None if target is None else _create(target)
    try:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if sink is not None:
                sink.write(chunk)
    finally:
        if sink is not None:
            sink.close()
    if target is not None:
        sync_file(target)
    if (size, digest.hexdigest()) != (entry.bytes, entry.sha256):
        raise BackupError(f"{path}: {entry.name} is not what the manifest says", fix=_ANOTHER)


def _create(path: Path) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = _info(name, len(content))
    tar.addfile(info, io.BytesIO(content))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        tar.addfile(_info(name, path.stat().st_size), file)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def total_bytes(entries: Iterable[Entry]) -> int:
    """Return the size of files before packing."""
    return sum(entry.bytes for entry in entries)
