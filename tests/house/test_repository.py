"""Nothing in git reveals the machine it was written on, nor where packages come from."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from tests.house.sources import ROOT, kept_files, shown

BINARY = {".png", ".ico", ".woff2", ".gz", ".zst"}
# Written so that this file does not find itself.
INDEX_ADDRESS = re.compile(
    r"index" + r"-url\s*[=:]|extra-" + r"index-url\s+\S*/|registry\.npmjs\." + r"org"
    r"|pypi\.org/" + r"simple|files\.python" + r"hosted\.org"
)
MACHINE_PATHS = ("/wo" + "rk/main", "/wo" + "rk/shared", "/tmp/" + "team")


def machine_paths() -> tuple[str, ...]:
    """Return paths that mean a machine: known ones, and where this very clone lies."""
    here = (str(ROOT),) if len(ROOT.parts) > 2 else ()
    return MACHINE_PATHS + here


def text_of(path: Path) -> str:
    """Return what a file holds; of an archive, every member byte by byte."""
    if path.suffix != ".zip":
        return path.read_text(encoding="utf-8")
    with zipfile.ZipFile(path) as packed:
        return "\n".join(packed.read(name).decode("latin-1") for name in packed.namelist())


def test_an_archive_is_looked_into(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner/file.db", b"\xff\x00" + MACHINE_PATHS[0].encode())
    assert MACHINE_PATHS[0] in text_of(tmp_path / "a.zip")


def test_no_machine_paths_and_no_index_addresses() -> None:
    paths = machine_paths()
    found = []
    for path in kept_files():
        if path.suffix in BINARY:
            continue
        for number, line in enumerate(text_of(path).splitlines(), start=1):
            if INDEX_ADDRESS.search(line) or any(known in line for known in paths):
                found.append(f"{shown(path)}:{number} {line.strip()[:90]}")
    assert not found, "the machine's business, not the repository's:\n" + "\n".join(found)


def test_index_addresses_would_be_found() -> None:
    assert INDEX_ADDRESS.search("--index" + "-url=https://x.example/simple")
    assert INDEX_ADDRESS.search('"resolved": ' + '"https://registry.npmjs.' + 'org/htmx.org"')


def test_front_end_lock_holds_hashes_and_no_address() -> None:
    lock = json.loads((ROOT / "web-assets" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert "resolved" not in entry, f"{name}: make lock strips addresses"
        assert entry["integrity"].startswith("sha512-"), name


def test_third_party_files_are_not_kept() -> None:
    kept = [shown(p) for p in kept_files() if {"vendor", "node_modules"} & set(p.parts)]
    assert not kept


def test_locks_that_record_addresses_are_not_kept() -> None:
    assert not {"uv.lock", "pylock.toml", "poetry.lock"} & {path.name for path in kept_files()}
