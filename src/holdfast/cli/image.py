"""`holdfast image`: the image that machines in containers run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.connection import settings_or_fail
from holdfast.cli.output import fail, progress, show
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.plane.installations import AGENTS_FOLDER, Installations
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.containers import DEFAULT_ENGINE

if TYPE_CHECKING:
    from holdfast.world.clouds.docker.image_build import Order

app = typer.Typer(no_args_is_help=True, help="The image of machines in containers.")


@app.callback()
def image() -> None:
    """Keep `build` a command of its own, though it is the only one."""


@app.command()
def build(
    base: Annotated[
        str, typer.Option(help="An image with Python 3.11 or newer and coreutils, on the engine.")
    ],
    tag: Annotated[str, typer.Option(help="The image's name; that of the settings if empty.")] = "",
    python: Annotated[str, typer.Option(help="The base's version of Python.")] = "3.11",
    agent: Annotated[
        list[str] | None, typer.Option(help="An installed agent to put in, such as openclaw.")
    ] = None,
) -> None:
    """Build the image of a machine: the controller, and agents of choice, on a base.

    The engine that HOLDFAST_DOCKER_SOCKET names builds it. Packages come from where pip gets them,
    by their locked hashes; the base is not fetched.
    """
    settings = settings_or_fail()
    try:
        from holdfast.world.clouds.docker import image_build  # noqa: PLC0415  an extra
    except ModuleNotFoundError:
        fail("the extra `docker` is not installed", fix="pip install 'holdfast[docker]'")
    order = image_build.Order(
        base=base, tag=tag or settings.docker_image, python=python,
        agents=tuple(path for name in agent or () for path in _installed(settings, name)),
    )  # fmt: skip
    try:
        with progress("preparing") as line:
            built = asyncio.run(_build(settings, order, line.update))
    except (image_build.BuildError, OSError) as error:
        fail(str(error))
    if not isinstance(built, Ok):
        fail(built.message)
    show(f"Built {built.value}")


async def _build(settings: Settings, order: Order, say: Callable[[str], None]) -> Outcome[str]:
    from holdfast.world.clouds.docker import image_build  # noqa: PLC0415  an extra
    from holdfast.world.clouds.docker.engine import Engine, client_context  # noqa: PLC0415  with it

    tls = client_context(settings.docker_tls) if settings.docker_tls else None
    engine = Engine(settings.docker_socket or DEFAULT_ENGINE, tls=tls)
    try:
        return await image_build.build(engine, order, say)
    finally:
        await engine.close()


def _installed(settings: Settings, name: str) -> list[Path]:
    """Return the folders of an agent's installations, and the link to the default."""
    folder = Path(settings.home) / AGENTS_FOLDER
    found = Installations(folder)
    versions = found.versions(name)
    if not versions:
        fail(f"no {name} is installed", fix=f"holdfast agents install {name}")
    link = found.path(name, "")
    paths = [found.path(name, version) for version in versions]
    return [*paths, link] if link.is_symlink() else paths
