"""`holdfast doctor` and `holdfast version`: checks of the system, and its version.

The doctor calls the plane. If no plane answers it checks this machine itself, with the same report
format, because that is when a doctor is needed most.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Final

import msgspec
import typer

from holdfast import __version__
from holdfast.cli.client import ApiError, Client, UnreachableError
from holdfast.cli.connection import connect, plane_url, settings_or_fail
from holdfast.cli.output import EXIT_UNREACHABLE, JSON_OPTION, say, show, show_json, show_table
from holdfast.cli.tables import Column
from holdfast.kernel.failure import reason
from holdfast.plane import log_file
from holdfast.plane.key_folder import KEYRING_FILE, find_keyring
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.holder import JOURNAL_FILE, lock_holder
from holdfast.wire.api.plane import DoctorCheck, DoctorReport
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.parsers import json_as

ANSWER_S: Final = 3.0
DISK_FAIL_BYTES: Final = 200 * 1024 * 1024
LOG_LINES: Final = 200
_MIB: Final = 1024 * 1024
_OTHERS: Final = 0o077
_COLUMNS: Final = (
    Column("check"),
    Column("result"),
    Column("what", least=20),
    Column("to do", drop=1, least=16),
)


def doctor(as_json: bool = JSON_OPTION) -> None:
    """Check stores, disks, keys and agents, and print remedies; works without a plane too."""
    settings = settings_or_fail()
    served = _is_served(settings)
    report = connect().call("plane.doctor") if served else examine(settings)
    if as_json:
        show_json(report)
    else:
        rows = ((c.name, c.result, c.message, c.fix) for c in report.checks)
        show_table(_COLUMNS, rows, empty="Nothing was checked.")
        say(verdict(report))
    if not served:
        raise typer.Exit(EXIT_UNREACHABLE)
    if not report.ok:
        raise typer.Exit(1)


def verdict(report: DoctorReport) -> str:
    """Return the result of all checks in a sentence; all is well only if each of them is."""
    wrong = sum(check.result != "ok" for check in report.checks)
    if not report.ok:
        return "Something needs a person."
    return "All is well." if not wrong else f"It works, and {wrong} of these need a look."


def version() -> None:
    """Print the version."""
    show(__version__)


def examine(settings: Settings) -> DoctorReport:
    """Return the checks possible from here for a plane that does not answer."""
    checks = (
        _plane(settings),
        _folder(Path(settings.home)),
        _keys(settings),
        _disk(Path(settings.home)),
        _stores(Path(settings.home)),
        _port(settings),
        _log(Path(settings.home)),
    )
    return DoctorReport(ok=all(check.result != "failed" for check in checks), checks=checks)


def _is_served(settings: Settings) -> bool:
    """Return whether a plane answers; the content does not matter here."""
    try:
        with Client(plane_url(settings), timeout_s=ANSWER_S) as client:
            client.call("plane.health")
    except UnreachableError:
        return False
    except (ApiError, ValueError):
        return True
    return True


def _plane(settings: Settings) -> DoctorCheck:
    """Check whether a process holds the folder although it does not answer."""
    holder = lock_holder(settings)
    if holder is None:
        return _failed("plane", "no plane runs", "holdfast up")
    return _failed(
        "plane",
        f"process {holder.pid} holds the folder and does not answer at {holder.url}",
        f"look at {log_file.NAME}; then kill -9 {holder.pid} and holdfast up",
    )


def _folder(home: Path) -> DoctorCheck:
    """Check that the data folder exists, is private, and is writable."""
    if not home.exists():
        return DoctorCheck(name="folder", result="ok", message=f"{home} is not there yet")
    if not home.is_dir():
        return _failed("folder", f"{home} is no folder", "set HOLDFAST_HOME to another")
    if not os.access(home, os.W_OK | os.X_OK):
        return _failed("folder", f"{home} cannot be written", "set HOLDFAST_HOME to one you own")
    if home.stat().st_mode & _OTHERS:
        return _failed("folder", f"others may read {home}", f"chmod go-rwx {home}")
    return DoctorCheck(name="folder", result="ok", message=f"{home} is for its owner only")


def _keys(settings: Settings) -> DoctorCheck:
    """Check that the plane would find the keys for its data folder."""
    home, keys, found = Path(settings.home), settings.keys_folder, find_keyring(settings)
    if found is not None:
        return DoctorCheck(name="keys", result="ok", message=f"the keys are in {found.parent}")
    if not (home / JOURNAL_FILE).exists():
        return DoctorCheck(name="keys", result="ok", message=f"{keys} will be made")
    return _failed(
        "keys",
        f"{home} has a journal, and {keys / KEYRING_FILE} is not there",
        "restore it from the backup, or set HOLDFAST_KEYS to where it is",
    )


def _disk(home: Path) -> DoctorCheck:
    """Check that there is space to write."""
    place = next((path for path in (home, *home.parents) if path.exists()), Path("/"))
    usage = shutil.disk_usage(place)
    message = f"{usage.free // _MIB} MiB free, {usage.free / usage.total:.0%} of the disk"
    if usage.free < DISK_FAIL_BYTES:
        return _failed("disk", message, "free some space, or set HOLDFAST_HOME to a larger disk")
    return DoctorCheck(name="disk", result="ok", message=message)


def _stores(home: Path) -> DoctorCheck:
    """Return whether the files of the data folder are in order."""
    # Heavy: it brings the engines of all stores, and only this needs them.
    from holdfast.plane.wiring.files import damaged_files, stores_check  # noqa: PLC0415

    return stores_check(list(damaged_files(home)), only_moved=False)


def _port(settings: Settings) -> DoctorCheck:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"HOLDFAST_HOST, port {settings.port}: {reason(error)}"
            return _failed("port", where, "set HOLDFAST_PORT to another")
    return DoctorCheck(name="port", result="ok", message=f"{settings.port} is free")


class _Line(msgspec.Struct):
    """The fields used of a log line."""

    event: str = ""
    level: str = ""
    at: str = ""
    reason: str = ""


def _log(home: Path) -> DoctorCheck:
    """Return the last error that the plane logged; lines that are not JSON are from a crash."""
    for text in reversed(log_file.tail(home, LOG_LINES)):
        try:
            line = json_as(_Line, text)
        except msgspec.MsgspecError:
            if text.strip():
                return _noted(f"the log ends with: {text.strip()}", home)
            continue
        if line.event == "plane.stopped":
            return DoctorCheck(name="log", result="ok", message=f"it was stopped at {line.at}")
        if line.level in {"error", "critical"}:
            why = f": {line.reason}" if line.reason else ""
            return _noted(f"the last error, at {line.at}: {line.event}{why}", home)
    return DoctorCheck(name="log", result="ok", message="no error in the end of the log")


def _noted(message: str, home: Path) -> DoctorCheck:
    fix = f"read {home / log_file.NAME}"
    return DoctorCheck(name="log", result="warning", message=message[:REASON_MAX], fix=fix)


def _failed(name: str, message: str, fix: str) -> DoctorCheck:
    return DoctorCheck(name=name, result="failed", message=message[:REASON_MAX], fix=fix)
