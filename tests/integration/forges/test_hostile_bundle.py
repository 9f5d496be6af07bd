"""Bundles and clones of a hostile agent, carried by the plane: nothing that they name is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.world.hosts.carrying import BadBundleError, Carrier
from tests.integration.forges.test_hostile_rig import Stage, bare
from tests.support.confinement import need
from tests.support.rigs import confined, git

__all__ = ["bare"]

REF = "refs/heads/bead/1"


async def test_nothing_that_a_carried_clone_names_is_run(tmp_path: Path) -> None:
    """What git itself is kept from running is counted by the first layer, filters by the second."""
    need("auto")
    stage = Stage(tmp_path, "auto")
    at, there = await stage.workspace(), await stage.workspace("two", "bead/2")
    clone, carrier = Path(at.folder), Carrier(confined(tmp_path))
    git(Path(there.folder), "checkout", "--quiet", "-b", "bead/1")
    attributes = "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n"
    stage.hands.work(there, {".gitattributes": attributes, "b": "two", "c.bin": "x"})
    bundle = tmp_path / "bundles" / "work.bundle"
    bundle.parent.mkdir()
    stage.arm(Path(there.folder) / ".git", "there")
    await carrier.pack(there.folder, "bead/1", bundle, lent=there.lent)
    stage.arm(clone / ".git", "here")
    with pytest.raises(OSError, match="transport 'ext' not allowed"):
        await carrier.unpack(at.folder, "bead/1", bundle, lent=at.lent)
    config = clone / ".git" / "config"
    config.write_text(config.read_text().replace("insteadOf", "nothing"))
    await carrier.unpack(at.folder, "bead/1", bundle, lent=at.lent)
    assert (clone / "b").read_text() == "two"
    assert sorted(path.name for path in stage.traces.iterdir()) == []
    git(clone, "reset", "--hard")  # what the plane never does
    assert [path.name for path in stage.traces.iterdir()] != []


async def test_a_carried_clone_cannot_write_outside_of_itself(tmp_path: Path) -> None:
    """The files of a bundle are written in a sandbox: a clone that leads out of it fails."""
    need("auto")
    stage = Stage(tmp_path, "auto")
    at = await stage.workspace()
    clone, carrier = Path(at.folder), Carrier(confined(tmp_path))
    stage.hands.work(at, {"b": "two"})
    bundle = tmp_path / "bundles" / "work.bundle"
    bundle.parent.mkdir()
    await carrier.pack(at.folder, "bead/1", bundle, lent=at.lent)
    other = tmp_path / "other"
    other.mkdir()
    git(clone, "config", "--file", ".git/config", "core.worktree", str(other))
    (clone / ".git" / "objects").rename(other / "objects")
    (clone / ".git" / "objects").symlink_to(other / "objects")
    before = sorted(other.rglob("*"))
    with pytest.raises(OSError, match=r"(?i)git|object|repository"):
        await carrier.unpack(at.folder, "bead/1", bundle, lent=at.lent)
    assert sorted(other.rglob("*")) == before


async def test_what_git_rejects_is_told_from_what_may_pass(bare: Stage) -> None:
    made, carrier = await bare.workspace(), Carrier(confined(kind="none"))
    bare.hands.work(made, {"b": "two"})
    at = await bare.workspace("two", "bead/2")
    place = bare.folder / "bundles"
    place.mkdir()
    bundle = place / "work.bundle"
    await carrier.pack(made.folder, "bead/1", bundle, lent=made.lent)
    whole = bundle.read_bytes()
    head, _, pack = whole.partition(b"PACK")
    bad = {
        "cut": whole[:-40],
        "none": b"no bundle\n" * 20,
        "flipped": head + b"PACK" + pack[:30] + bytes([pack[30] ^ 255]) + pack[31:],
        "other": whole.replace(REF.encode(), b"refs/heads/bead/9"),
    }
    for name, data in bad.items():
        (place / name).write_bytes(data)
        with pytest.raises(BadBundleError):
            await carrier.unpack(at.folder, "bead/1", place / name, lent=at.lent)
    lock = Path(at.folder) / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(OSError, match="File exists") as passing:
        await carrier.unpack(at.folder, "bead/1", bundle, lent=at.lent)
    assert not isinstance(passing.value, BadBundleError)
    lock.unlink()
    await carrier.unpack(at.folder, "bead/1", bundle, lent=at.lent)
