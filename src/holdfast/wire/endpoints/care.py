"""Endpoints about looking after an agent, each asked of its machine's controller.

A controller's own refusal keeps its status and code. Beside those: 409 for a controller that is
too old, 502 for one that answers wrongly, 503 where none runs or can be reached, 504 for one that
does not answer in time.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.wire.endpoints.params import ID
from holdfast.wire.endpoints.row import Endpoint, Method, Param
from holdfast.wire.limits import BODY_BYTES_MAX
from holdfast.wire.messages.care import (
    CONFIG_BYTES_MAX,
    FILE_CHARS_MAX,
    PATH_PATTERN,
    ConfigChanged,
    ConfigPatch,
    ConfigReplace,
    ConfigRestore,
    ConfigVersions,
    ConfigView,
    DoctorRun,
    DoctorStart,
    FileList,
    FileText,
    FileWrite,
    FileWritten,
    Retried,
)
from holdfast.wire.messages.fields import Empty

_ONE: Final = "/api/instances/{id}"
_STATUSES: Final = (200, 409, 422, 502, 503, 504)
_PATH: Final = Param("path", PATH_PATTERN, "Names joined by slashes, below the state folder.")


def _look(
    name: str, path: str, response: Any, summary: str, *params: Param, audited: bool = False
) -> Endpoint:
    """Return the row of a question to a machine."""
    return Endpoint(
        name=name,
        method="GET",
        path=f"{_ONE}/{path}",
        summary=summary,
        scope="owner",
        response=response,
        params=(ID, *params),
        statuses=_STATUSES,
        audited=audited,
    )


def _do(
    name: str,
    path: str,
    request: Any,
    response: Any,
    summary: str,
    *,
    method: Method = "POST",
    body_bytes_max: int = BODY_BYTES_MAX,
) -> Endpoint:
    """Return the row of an order to a machine."""
    return Endpoint(
        name=name,
        method=method,
        path=f"{_ONE}/{path}",
        summary=summary,
        scope="owner",
        request=request,
        response=response,
        params=(ID,),
        statuses=_STATUSES,
        body_bytes_max=body_bytes_max,
        mutates=True,
    )


_CONFIG_BODY: Final = 2 * CONFIG_BYTES_MAX
_FILE_BODY: Final = 6 * FILE_CHARS_MAX + BODY_BYTES_MAX

CARE: Final = (
    _look("config.get", "config", ConfigView, "Its configuration as it is.", audited=True),
    _look("config.versions", "config/versions", ConfigVersions, "Its earlier configurations."),
    _do(
        "config.replace", "config", ConfigReplace, ConfigChanged,
        "Replace its configuration.", method="PUT", body_bytes_max=_CONFIG_BODY,
    ),
    _do(
        "config.patch", "config", ConfigPatch, ConfigChanged,
        "Merge into its configuration.", method="PATCH", body_bytes_max=_CONFIG_BODY,
    ),
    _do(
        "config.restore", "config/restore", ConfigRestore, ConfigChanged,
        "Put an earlier configuration back.",
    ),
    _look(
        "files.list", "files", FileList, "The files in its state folder.",
        _PATH, Param("depth", r"[1-9][0-9]?", "How many levels, 1 to 99 (default: all)."),
    ),
    _look(
        "files.read", "files/text", FileText, "One text file.",
        Param(_PATH.name, _PATH.pattern, _PATH.summary, required=True), audited=True,
    ),
    _do(
        "files.write", "files/text", FileWrite, FileWritten,
        "Write a text file.", method="PUT", body_bytes_max=_FILE_BODY,
    ),
    _look(
        "doctor.run", "doctor", DoctorRun, "The last run of its doctor, with its output.",
        Param("after", r"[0-9]{1,12}", "Only output from here on: `next` of the answer before."),
    ),
    _do("doctor.start", "doctor", DoctorStart, DoctorRun, "Have its doctor look."),
    _do("doctor.cancel", "doctor/cancel", Empty, DoctorRun, "End its doctor's run."),
    _do(
        "bootstrap.retry", "bootstrap/retry", Empty, Retried,
        "Go on with the controller's start from the phase that failed.",
    ),
)  # fmt: skip
