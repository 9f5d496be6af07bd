"""`holdfast backup`, `backup verify` and `restore`: copies of a plane's stores, on its machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from holdfast.cli.connection import settings_or_fail
from holdfast.cli.output import (
    EXIT_USAGE,
    JSON_OPTION,
    fail,
    progress,
    say,
    show,
    show_facts,
    show_json,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.plane.key_folder import KeysError

if TYPE_CHECKING:
    from holdfast.plane.backup.manifest import Manifest


class _MakeByDefault(TyperGroup):
    """`holdfast backup PATH` is `holdfast backup make PATH`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where none is named."""
        named = args[:1] and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["make", *args])


app = typer.Typer(cls=_MakeByDefault, help="Back a plane up while it runs, and verify a backup.")

_MIB = 1024 * 1024
_FILES = (
    Column("file"),
    Column("bytes"),
    Column("form"),
    Column("numbers", drop=1, least=16),
)
_UNKNOWN = ("keep", "end", "adopt")
_MISSING = ("hold", "create")


@app.command("make")
def make(
    path: Annotated[
        Path | None, typer.Argument(help="The file to write, or a folder for it.")
    ] = None,
    with_keys: Annotated[
        bool,
        typer.Option("--with-keys", help="Put the keys in: who reads the file reads all secrets."),
    ] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write the stores into one file, verified, while the plane runs or not."""
    # Slow imports, needed here only.
    from holdfast.kernel.clock import SystemClock  # noqa: PLC0415
    from holdfast.plane.backup.manifest import BackupError  # noqa: PLC0415
    from holdfast.plane.wiring.backup import make_backup  # noqa: PLC0415

    settings, began = settings_or_fail(), time.monotonic()
    target = _target(path)
    try:
        with progress("looking at the stores") as line:
            manifest = make_backup(
                settings, target, with_keys=with_keys, clock=SystemClock(), tell=line.update
            )
    except (BackupError, KeysError, OSError) as error:
        _fail(error)
    size = target.stat().st_size
    if as_json:
        show_json({"path": str(target), "bytes": size, "manifest": manifest})
        return
    show(
        f"Wrote {target} ({size / _MIB:.1f} MiB, {time.monotonic() - began:.1f} s), and verified it"
    )
    _show(manifest)


@app.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(help="The backup.")], as_json: bool = JSON_OPTION
) -> None:
    """Compare every hash of a backup, and check the integrity of every store in it."""
    from holdfast.plane.backup.manifest import BackupError  # noqa: PLC0415  slow
    from holdfast.plane.wiring.backup import verify_backup  # noqa: PLC0415  slow

    try:
        with progress("reading") as line:
            found = verify_backup(path, line.update)
    except (BackupError, OSError) as error:
        _fail(error)
    if as_json:
        show_json(found)
        return
    show(f"{path} is in order", style="green")
    _show(found.manifest)


def restore(
    path: Annotated[Path | None, typer.Argument(help="The backup.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the stores that are there aside.")
    ] = False,
    unknown_machines: Annotated[
        str,
        typer.Option(
            help="Machines that no instance of the backup owns: keep, end or adopt. Without a PATH"
            " only this is answered."
        ),
    ] = "keep",
    missing_machines: Annotated[
        str, typer.Option(help="Instances whose machine is gone: hold them, or create it again.")
    ] = "hold",
    lose_secrets: Annotated[
        bool,
        typer.Option("--lose-secrets", help="Accept that nothing opens the secrets in it."),
    ] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Replace the stores by those of a backup; the plane must not run."""
    from holdfast.kernel.clock import SystemClock  # noqa: PLC0415  slow
    from holdfast.plane.backup.manifest import BackupError  # noqa: PLC0415  slow
    from holdfast.plane.wiring.restore import (  # noqa: PLC0415  slow
        RestoreOrder,
        answer_unknown,
        restore_backup,
    )

    settings = settings_or_fail()
    unknown = _chosen("--unknown-machines", unknown_machines, _UNKNOWN)
    missing = _chosen("--missing-machines", missing_machines, _MISSING)
    order = RestoreOrder(
        replace=replace, lose_secrets=lose_secrets, unknown=unknown, missing=missing
    )
    try:
        if path is None:
            answer_unknown(settings, unknown)
            say("It is done at the plane's next start: holdfast down, then holdfast up")
            return
        with progress("reading the backup") as line:
            done = restore_backup(settings, path, order, clock=SystemClock(), tell=line.update)
    except (BackupError, KeysError, OSError) as error:
        _fail(error)
    if as_json:
        show_json(done)
        return
    show(f"Restored the backup of {done.manifest.made_at} into {settings.home}", style="green")
    show_facts((("stores before", done.aside),))
    for note in done.notes:
        say(f"note: {note}", style="yellow")
    say("Start the plane, then look: holdfast up, holdfast doctor")


def _show(manifest: Manifest) -> None:
    stores = {note.file: note for note in manifest.stores}
    rows = []
    for entry in manifest.files:
        note = stores.get(entry.name)
        numbers = "" if note is None else ", ".join(f"{k} {v}" for k, v in note.numbers.items())
        form = "" if note is None else note.schema_name.partition(".")[0]
        rows.append((entry.name, f"{entry.bytes:,}", form, numbers))
    show_table(_FILES, rows, empty="There is no file in it.")
    show_facts(
        (
            ("made", f"{manifest.made_at} by Holdfast {manifest.version} on {manifest.host}"),
            ("id", manifest.id),
        )
    )
    for left in manifest.left_out:
        say(f"not in it: {left.what}: {left.why}", style="dim" if manifest.keys.included else "")
    if not manifest.keys.included:
        say("It has no keys: without the keys folder its secrets are lost.", style="yellow")


def _target(path: Path | None) -> Path:
    """Return the file to write; a folder gets one named by the time."""
    named = time.strftime("holdfast-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime())
    if path is None:
        return Path.cwd() / named
    return path / named if path.is_dir() else path.absolute()


def _chosen(option: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        fail(f"{option}: {value!r} is none of {', '.join(choices)}", code=EXIT_USAGE)
    return value


def _fail(error: Exception) -> NoReturn:
    fail(str(error), fix=getattr(error, "fix", ""))
