"""Builds a machine's image: collects its parts into a folder, and has the engine build that.

The parts are the packages that a machine's side imports, their locked dependencies for the base's
Python, and installations of agents that were made on this host. The engine fetches nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from aiodocker import Docker
from msgspec import Struct

import holdfast
from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.world.clouds.docker.engine import Engine

PACKAGES: Final = ("disk", "kernel", "machine", "outbox", "relay", "wire")
"""The packages of ours that run in a machine."""
PYTHON: Final = "3.11"
BUILD_S: Final = 1_800.0
FETCH_S: Final = 600
_PARTS: Final = Path(__file__).with_name("image")
_NO_CACHE: Final = shutil.ignore_patterns("__pycache__")


class BuildError(Exception):
    """An image could not be built; the text says why and what to do."""


class Order(Struct, frozen=True, kw_only=True):
    """What to build: on which base, under which name, with which installations of agents."""

    base: str
    tag: str
    python: str = PYTHON
    agents: tuple[Path, ...] = ()


async def build(engine: Engine, order: Order, say: Callable[[str], None]) -> Outcome[str]:
    """Build an image; return its name. Raise BuildError where a part cannot be had."""
    with tempfile.TemporaryDirectory(prefix="holdfast-image-") as folder:
        context = Path(folder) / "context"
        say("collecting the controller and its packages")
        stage(context, order)
        archive = Path(folder) / "context.tar"
        with tarfile.open(archive, "w") as parts:
            parts.add(context, arcname=".")
        say(f"building {order.tag} from {order.base}")

        async def ask(docker: Docker) -> str:
            with archive.open("rb") as parts:
                await docker.images.build(
                    fileobj=parts, encoding="identity", tag=order.tag, forcerm=True,
                    path_dockerfile="Containerfile", buildargs={"BASE": order.base},
                )  # fmt: skip
            return order.tag

        built = await engine.call(ask, within_s=BUILD_S)
        return Ok(order.tag) if isinstance(built, Ok) else built


def stage(context: Path, order: Order) -> None:
    """Collect everything an image is made of in a folder; raise BuildError."""
    site, agents = context / "site", context / "agents"
    site.mkdir(parents=True)
    agents.mkdir()
    shutil.copyfile(_PARTS / "Containerfile", context / "Containerfile")
    fetch(site, order.python)
    ours = Path(holdfast.__file__).parent
    (site / "holdfast").mkdir()
    for file in ("__init__.py", "py.typed"):
        shutil.copyfile(ours / file, site / "holdfast" / file)
    for package in PACKAGES:
        shutil.copytree(ours / package, site / "holdfast" / package, ignore=_NO_CACHE)
    for agent in order.agents:
        try:
            if agent.is_symlink():
                (agents / agent.name).symlink_to(agent.readlink().name)
            else:
                shutil.copytree(agent, agents / agent.name, symlinks=True)
        except OSError as error:
            raise BuildError(f"{agent}: {brief(error)}; see holdfast agents list") from error


def fetch(site: Path, python: str) -> None:
    """Install the locked packages for a version of Python; raise BuildError."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-compile", "--only-binary", ":all:", "--require-hashes",
        "--python-version", python, "--target", str(site),
        "--requirement", str(_PARTS / "requirements.txt"),
    ]  # fmt: skip
    run(command)


def run(command: Sequence[str]) -> None:
    """Run a program to its end; raise BuildError with its last lines."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]}: {brief(error)}") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise BuildError("the packages of a machine cannot be had: " + "; ".join(words))
