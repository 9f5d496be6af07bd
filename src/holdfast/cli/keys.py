"""`holdfast keys`: list, rotate and drop keys of this machine's plane, or replace a lost ring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.connection import connect, settings_or_fail
from holdfast.cli.output import ago, fail, say, show_table
from holdfast.cli.tables import Column
from holdfast.kernel.failure import reason
from holdfast.plane.key_folder import KEYRING_FILE, KeysError, prepare_keys
from holdfast.wire.api.plane import KeysRotate, KeysRotated
from holdfast.wire.times import time_text

app = typer.Typer(
    no_args_is_help=True, help="The plane's keys: replace them, or make new ones after a loss."
)


@app.command("list")
def show() -> None:
    """Show the keys that seal and sealed, by their ids."""
    from holdfast.plane.secret_encryption import list_keys  # noqa: PLC0415  heavy, and for this only

    settings = settings_or_fail()
    try:
        keys = list_keys(settings.keys_folder)
    except FileNotFoundError:
        fail(f"{settings.keys_folder / KEYRING_FILE} is not there", fix="holdfast up makes it")
    except (KeysError, OSError) as error:
        fail(str(error) if isinstance(error, KeysError) else reason(error))
    rows = [
        (
            key.id,
            ago(time_text(key.created_ms)),
            "seals" if key is keys[-1] else "opens what it sealed",
        )
        for key in keys
    ]
    show_table((Column("id"), Column("made"), Column("use")), rows, empty="There are no keys.")


@app.command()
def rotate() -> None:
    """Seal every stored secret under a new key, while the plane runs.

    Killed or cut off, it goes on when it is called again. The keys before stay until `keys drop`.
    """
    plane, after, resealed, busy = connect(), "", 0, 0
    while True:
        done: KeysRotated = plane.call("keys.rotate", body=KeysRotate(after=after))
        resealed, busy, after = resealed + done.resealed, busy + done.busy, done.next
        if done.made:
            say(f"Made the key {done.key}, which seals from now on.")
        if not after:
            break
    say(f"{resealed} stored secrets are sealed by {done.key} now.")
    if busy:
        fail(f"{busy} instances were busy", fix="holdfast keys rotate goes on with them")
    say("Machines keep the environments they were given: holdfast instance rotate-secrets NAME for")
    say("each seals those again. Then, with the plane stopped: holdfast keys drop ID")


@app.command()
def drop(key: Annotated[str, typer.Argument(help="The id of a key, as in `keys list`.")]) -> None:
    """Take a key away for good that seals nothing any more; the plane must not run."""
    # Heavy, and for this only.
    import asyncio  # noqa: PLC0415

    from holdfast.kernel.clock import SystemClock  # noqa: PLC0415
    from holdfast.plane import secret_encryption  # noqa: PLC0415
    from holdfast.plane.wiring.key_uses import uses  # noqa: PLC0415
    from holdfast.plane.wiring.local_admin import hold_folder  # noqa: PLC0415

    settings = settings_or_fail()
    try:
        with hold_folder(settings, url="", now_ms=SystemClock().now_ms(), refuse=KeysError):
            ring = secret_encryption.open_keyring(settings.keys_folder)
            left = asyncio.run(uses(Path(settings.home), ring, key))
            if not left:
                secret_encryption.drop(settings.keys_folder, key)
    except (KeysError, OSError, ValueError) as error:
        fail(str(error) if isinstance(error, KeysError) else reason(error))
    if left:
        fail("the key still seals: " + "; ".join(left[:5]), fix=f"{len(left)} uses are left")
    say(f"Dropped {key}. A backup from before holds values that open with it alone: keep it there.")


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
    from holdfast.plane.secret_encryption import make_keyring  # noqa: PLC0415
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
        fail(str(error) if isinstance(error, KeysError) else reason(error))
    say(f"Made {path}. Start the plane; then for each instance:")
    say("holdfast instance rotate-secrets NAME, and holdfast instance secrets NAME --set ...")
