"""A real container engine for tests: Podman's service with a store of its own, and an image.

One is started for each process that asks, on a unix socket; what it has stored stays in build/, so
that the image is built once for one state of the code. Where containers cannot run at all, as in a
sandbox without the rights for them, the tests say so and are skipped; that is found by running one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.docker import image_build
from holdfast.world.clouds.docker.engine import Engine
from tests.support.patience import patience
from tests.support.real_parts import not_run
from tools.real_parts import ENGINE_BASE, find_engine

STORE: Final = ENGINE_BASE.parent
BASE: Final = "localhost/holdfast-test-base:latest"
CONFIG: Final = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = ["/usr/lib/podman", "/usr/libexec/podman", "/usr/local/libexec/podman"]
[network]
network_backend = "netavark"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
STORAGE: Final = """
[storage]
driver = "overlay"
graphroot = "{store}/graph"
runroot = "{store}/run"
"""


class PodmanService:
    """Podman's service on a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "api.sock"
        self.url = f"unix://{self.socket}"
        config, storage = folder / "containers.conf", folder / "storage.conf"
        config.write_text(CONFIG)
        storage.write_text(STORAGE.format(store=STORE))
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(config),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }
        self.command = ("podman", "--network-config-dir", str(STORE / "networks"))
        self._folder = folder
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, "system", "service", "--time=0", self.url],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self._folder,  # conmon notes there what ran out of memory
                start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + patience(20)
        while not self.socket.exists():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, "Podman's service does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the service; containers go on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Podman's own command line on the same store."""
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environment, capture_output=True, text=True, check=False, timeout=patience(60),
        )  # fmt: skip

    def clear(self) -> None:
        """Remove every container, network and volume; images stay."""
        self.podman("rm", "--all", "--force", "--time", "0", "--volumes")
        self.podman("network", "prune", "--force")
        self.podman("volume", "prune", "--force")


class RealEngine:
    """A running service and the name of an image with the code as it is."""

    def __init__(self, service: PodmanService, image: str) -> None:
        self.service = service
        self.url = service.url
        self.image = image

    def machines(self) -> list[str]:
        """Return the names of all containers, running or not, without their common beginning."""
        listed = self.service.podman("ps", "--all", "--format", "{{.Names}}").stdout.split()
        return sorted(name.removeprefix("holdfast-") for name in listed)

    def inside(self, machine: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a machine, as its user."""
        return self.service.podman("exec", f"holdfast-{machine}", *argv)

    def python(self, machine: str, text: str) -> str:
        """Run a text of Python in a machine; return what it printed, and fail if it failed."""
        done = self.inside(machine, "python3", "-I", "-c", text)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def inspect(self, machine: str) -> dict[str, Any]:
        """Return what the engine tells of a machine's container, nothing while there is none."""
        shown = self.service.podman("inspect", f"holdfast-{machine}")
        found: list[dict[str, Any]] = json.loads(shown.stdout or "[]")
        return found[0] if found else {}  # being replaced


@contextmanager
def running_engine(what: str) -> Iterator[RealEngine]:
    """Run an engine with an image; skip, loudly, where none can run here."""
    if find_engine() is None or not ENGINE_BASE.is_file():
        not_run(what, "a container engine, or a root for its images (make test-docker)")
    folder = Path(tempfile.mkdtemp(prefix="hf-engine-"))
    service = PodmanService(folder)
    try:
        (STORE / "networks").mkdir(parents=True, exist_ok=True)
        service.start()
        service.clear()
        refuse_where_none_runs(service, what)
        yield RealEngine(service, ensure_image(service))
    finally:
        service.clear()
        service.kill()
        shutil.rmtree(folder)


def refuse_where_none_runs(service: PodmanService, what: str) -> None:
    """Skip, loudly and with CI=true too, where a container cannot run on this machine."""
    if service.podman("image", "exists", BASE).returncode:
        imported = service.podman("import", str(ENGINE_BASE), BASE)
        assert imported.returncode == 0, imported.stderr
    tried = service.podman("run", "--rm", "--network", "none", BASE, "true")
    if tried.returncode:
        pytest.skip(
            f"NOT RUN, no container can run on this machine ({tried.stderr.strip()}): {what}"
        )


def ensure_image(service: PodmanService) -> str:
    """Build the image of a machine from the code as it is, if that was not done yet."""
    tag = f"localhost/holdfast-test:{digest()}"
    if service.podman("image", "exists", tag).returncode:
        asyncio.run(_build(service.url, tag))
    return tag


async def _build(url: str, tag: str) -> None:
    engine = Engine(url)
    try:
        built = await image_build.build(engine, image_build.Order(base=BASE, tag=tag), print)
        assert isinstance(built, Ok), built
    finally:
        await engine.close()


def digest() -> str:
    """Return a name for the state of the code that is in an image."""
    ours = Path(image_build.__file__).parents[3]
    found = hashlib.sha256()
    roots = [ours / name for name in image_build.PACKAGES] + [ours / "world/clouds/docker/image"]
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(str(path.relative_to(ours)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
