"""`holdfast keys`: replaces the keys of this machine's plane after their loss."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.connection import settings_or_fail
from holdfast.cli.output import fail, say
from holdfast.plane.key_folder import KEYRING_FILE, KeysError, prepare_keys

app = typer.Typer(no_args_is_help=True, help="The plane's keys: make new ones after a loss.")


@app.callback()
def _group() -> None:
    """Make the group a group, so that its only command keeps its name."""


@app.command()
def new(
    lose_secrets: Annotated[
        bool,
        typer.Option("--lose-secrets", help="Accept that what the lost keys sealed is lost too."),
    ] = False,
) -> None:
    """Make a new key ring where the old one is lost for good; the plane must not run.

    What the lost keys sealed stays lost. Instances run on; each needs `instance rotate-secrets` and
    its secrets set again before it can be started again.
    """
    # A slow import, needed here only.
    from holdfast.kernel.clock import SystemClock  # noqa: PLC0415
    from holdfast.plane.keyring import make_keyring  # noqa: PLC0415
    from holdfast.plane.wiring.local_admin import hold_folder  # noqa: PLC0415

    settings, now_ms = settings_or_fail(), SystemClock().now_ms()
    path = settings.keys_folder / KEYRING_FILE
    if not lose_secrets:
        fail(
            f"no secret that is stored opens with a new {path}, and no instance starts with those",
            fix="restore the old one from the backup, or say --lose-secrets",
        )
    try:
        with hold_folder(settings, url="", now_ms=now_ms, refuse=KeysError):
            make_keyring(prepare_keys(settings), now_ms=now_ms)
    except (KeysError, OSError) as error:
        fail(str(error))
    say(f"Made {path}. Start the plane; then for each instance:")
    say("holdfast instance rotate-secrets NAME, and holdfast instance secrets NAME --set ...")
