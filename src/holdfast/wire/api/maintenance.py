"""Endpoints about looking after an agent, each asked of its machine's controller.

A controller's own refusal keeps its status and code. Beside those: 409 for a controller that is
too old, 502 for one that answers wrongly, 503 where none runs or can be reached, 504 for one that
does not answer in time.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Counter, Empty, Label, Param, Reason, Time, look, order
from holdfast.wire.limits import BODY_BYTES_MAX

CONFIG_BYTES_MAX: Final = 1_048_576
"""A configuration's text; what a controller takes."""

FILE_CHARS_MAX: Final = 1_048_576
"""Characters of a file; what a controller takes of bytes."""

ENTRIES_MAX: Final = 5_000
"""Entries of one listing; the most that a controller lists."""

VERSIONS_MAX: Final = 64
OUTPUT_CHARS_MAX: Final = 1_100_000
"""Characters of a doctor's output: 1 MiB and what says that it was cut."""

PATH_PATTERN: Final = r"[^/\x00-\x1f\x7f]{1,255}(/[^/\x00-\x1f\x7f]{1,255}){0,31}"
"""Names joined by slashes; the controller refuses what leads out."""

VERSION_PATTERN: Final = r"[0-9a-z-]{1,64}"
"""The form of a version's name; the controller has the list of them."""

_END: Final = r"$(?!\n)"

CONFIG_KEYS_MAX: Final = 1_000
"""Keys at a configuration's top; the largest known has some forty."""

Config = Annotated[
    dict[Annotated[str, Meta(max_length=256)], Any], Meta(max_length=CONFIG_KEYS_MAX)
]
"""A configuration: a JSON object in the agent's own words."""
Etag = Annotated[str, Meta(max_length=80)]
"""What was read, by name; empty for whatever is there."""
Path = Annotated[str, Meta(min_length=1, max_length=1_024, pattern=f"^(?:{PATH_PATTERN}){_END}")]


class ConfigView(Struct, frozen=True, kw_only=True):
    """The configuration as it is; `plain` when a patch loses nothing, such as comments."""

    config: Config
    etag: Etag
    plain: bool = True

    def __repr__(self) -> str:
        """Return a form without the values."""
        return f"ConfigView(etag={self.etag!r})"


class ConfigVersion(Struct, frozen=True, kw_only=True):
    """One text that was in force, where it came from, and what became of the agent with it."""

    etag: Etag
    at: Time
    origin: Label
    verdict: Literal["healthy", "bad", "unknown"] = "unknown"
    verdict_at: Time | None = None
    reason: Reason = ""


class ConfigVersions(Struct, frozen=True, kw_only=True):
    """What is kept, the latest first."""

    versions: Annotated[tuple[ConfigVersion, ...], Meta(max_length=VERSIONS_MAX)]


class ConfigReplace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put a whole configuration in place of the one named by `etag`.

    `force` insists on one with which the agent is known not to stay healthy.
    """

    config: Config
    etag: Etag = ""
    force: bool = False

    def __repr__(self) -> str:
        """Return a form without the values."""
        return f"ConfigReplace(etag={self.etag!r}, force={self.force})"


class ConfigPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Merge into the configuration: null deletes, objects are merged (RFC 7396)."""

    patch: Config
    etag: Etag = ""
    force: bool = False

    def __repr__(self) -> str:
        """Return a form without the values."""
        return f"ConfigPatch(etag={self.etag!r}, force={self.force})"


class ConfigRestore(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put an earlier text back: `base`, `last-healthy`, or how a version's etag begins."""

    version: Annotated[str, Meta(max_length=64, pattern=f"^{VERSION_PATTERN}{_END}")]
    force: bool = False


class ConfigChanged(Struct, frozen=True, kw_only=True):
    """What is in force now; `changed` is false when it was so already."""

    etag: Etag
    changed: bool


class FileEntry(Struct, frozen=True, kw_only=True):
    """A file or a folder below the state folder; `more` when a folder's content is not listed."""

    path: Annotated[str, Meta(max_length=8_192)]
    type: Literal["file", "directory"]
    more: bool = False


class FileList(Struct, frozen=True, kw_only=True):
    """Entries, folders before what is in them; `truncated` when there are more."""

    entries: Annotated[tuple[FileEntry, ...], Meta(max_length=ENTRIES_MAX)]
    truncated: bool = False


class FileText(Struct, frozen=True, kw_only=True):
    """A text file as it is."""

    path: Annotated[str, Meta(max_length=1_024)]
    content: Annotated[str, Meta(max_length=FILE_CHARS_MAX)]
    etag: Etag

    def __repr__(self) -> str:
        """Return a form without the text."""
        return f"FileText(path={self.path!r}, etag={self.etag!r})"


class FileWrite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write a file that exists, over the text named by `etag`; `create` makes a new one."""

    path: Path
    content: Annotated[str, Meta(max_length=FILE_CHARS_MAX)]
    etag: Etag = ""
    create: bool = False

    def __repr__(self) -> str:
        """Return a form without the text."""
        return f"FileWrite(path={self.path!r}, etag={self.etag!r}, create={self.create})"


class FileWritten(Struct, frozen=True, kw_only=True):
    """The file as it is now, by name."""

    path: Annotated[str, Meta(max_length=1_024)]
    etag: Etag


class DoctorStart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have the agent's doctor look; `fix` lets it repair what it finds."""

    fix: bool = True


class DoctorRun(Struct, frozen=True, kw_only=True):
    """The run that goes on, or the last one; `status` is empty before the first.

    `output` is what was printed from the position asked for on, and `next` where to go on.
    """

    status: Literal["", "running", "completed", "failed", "cancelled"]
    run_id: Label = ""
    fix: bool = True
    started_at: Time | None = None
    finished_at: Time | None = None
    exit_code: Annotated[int, Meta(ge=-255, le=255)] | None = None
    error: Reason = ""
    output: Annotated[str, Meta(max_length=OUTPUT_CHARS_MAX)] = ""
    truncated: bool = False
    next: Counter = 0


class Retried(Struct, frozen=True, kw_only=True):
    """The phase that the start goes on with."""

    phase: Label


_ONE: Final = "/api/instances/{id}"
_STATUSES: Final = (200, 409, 422, 502, 503, 504)
_PATH: Final = Param("path", PATH_PATTERN, "Names joined by slashes, below the state folder.")
_CONFIG_BODY: Final = 2 * CONFIG_BYTES_MAX
_FILE_BODY: Final = 6 * FILE_CHARS_MAX + BODY_BYTES_MAX

_ask: Final = partial(look, statuses=_STATUSES)
_do: Final = partial(order, statuses=_STATUSES)

CARE: Final = (
    _ask("config.get", f"{_ONE}/config", ConfigView, "Its configuration as it is.", audited=True),
    _ask(
        "config.versions", f"{_ONE}/config/versions", ConfigVersions, "Its earlier configurations.",
    ),
    _do(
        "config.replace", f"{_ONE}/config", ConfigReplace, ConfigChanged,
        "Replace its configuration.", method="PUT", body_bytes_max=_CONFIG_BODY,
    ),
    _do(
        "config.patch", f"{_ONE}/config", ConfigPatch, ConfigChanged,
        "Merge into its configuration.", method="PATCH", body_bytes_max=_CONFIG_BODY,
    ),
    _do(
        "config.restore", f"{_ONE}/config/restore", ConfigRestore, ConfigChanged,
        "Put an earlier configuration back.",
    ),
    _ask(
        "files.list", f"{_ONE}/files", FileList, "The files in its state folder.",
        _PATH, Param("depth", r"[1-9][0-9]?", "How many levels, 1 to 99 (default: all)."),
    ),
    _ask(
        "files.read", f"{_ONE}/files/text", FileText, "One text file.",
        Param(_PATH.name, _PATH.pattern, _PATH.summary, required=True), audited=True,
    ),
    _do(
        "files.write", f"{_ONE}/files/text", FileWrite, FileWritten,
        "Write a text file.", method="PUT", body_bytes_max=_FILE_BODY,
    ),
    _ask(
        "doctor.run", f"{_ONE}/doctor", DoctorRun, "The last run of its doctor, with its output.",
        Param("after", r"[0-9]{1,12}", "Only output from here on: `next` of the answer before."),
    ),
    _do("doctor.start", f"{_ONE}/doctor", DoctorStart, DoctorRun, "Have its doctor look."),
    _do("doctor.cancel", f"{_ONE}/doctor/cancel", Empty, DoctorRun, "End its doctor's run."),
    _do(
        "bootstrap.retry", f"{_ONE}/bootstrap/retry", Empty, Retried,
        "Go on with the controller's start from the phase that failed.",
    ),
)  # fmt: skip
