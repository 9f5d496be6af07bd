"""The files in the agent's state folder, listed, read and written."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.wire.api.endpoint import Param
from holdfast.wire.api.maintenance import FILE_CHARS_MAX, Etag
from holdfast.wire.controller.config import EtagGiven
from holdfast.wire.controller.endpoint import look, order, wanted

PATH_CHARS_MAX: Final = 1_024
BODY_BYTES_MAX: Final = 6 * FILE_CHARS_MAX + 65_536
"""A file in a request: JSON writes a control character as six."""

PATH: Final = Param("path", r"[\s\S]*", "names joined by slashes, below the state folder")
DEPTH: Final = Param("depth", r"[1-9][0-9]?", "a number from 1 to 99")


class Node(Struct, kw_only=True):
    """A file, or a folder with what is in it; `truncated` when that is not listed."""

    name: str | UnsetType = UNSET
    path: Annotated[str, Meta(max_length=8_192)]
    type: Literal["file", "directory"]
    children: list[Node] | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET


class TreeAnswer(Struct, frozen=True, kw_only=True):
    """What lies below a folder."""

    tree: list[Node]
    truncated: bool = False


class TextAnswer(Struct, frozen=True, kw_only=True):
    """A text file."""

    content: Annotated[str, Meta(max_length=FILE_CHARS_MAX)]
    etag: Etag


class WriteOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Write a file that exists, over the text named by `etag`; `create` makes a new one."""

    path: Annotated[str, Meta(max_length=PATH_CHARS_MAX)]
    content: Annotated[str, Meta(max_length=FILE_CHARS_MAX)]
    etag: EtagGiven = UNSET
    create: Annotated[bool, wanted("true or false")] = False

    def __repr__(self) -> str:
        """Return a form without the text."""
        return f"WriteOrder(path={self.path!r}, etag={self.etag!r}, create={self.create})"


class WrittenAnswer(Struct, frozen=True, kw_only=True):
    """The name of what was written."""

    ok: bool = True
    etag: Etag


_CODES: Final = ("invalid_path", "file_not_found")

FILES_TREE: Final = look(
    "files/tree", TreeAnswer, "What lies below a folder.", PATH, DEPTH,
    capability="files.tree", codes=_CODES, statuses=(200, 404),
)  # fmt: skip
FILES_READ: Final = look(
    "files/read", TextAnswer, "One text file.", PATH,
    capability="files.read", codes=(*_CODES, "file_not_text"), statuses=(200, 404),
)  # fmt: skip
FILES_WRITE: Final = order(
    "files/write", WriteOrder, WrittenAnswer, "Write a text file.",
    capability="files.write", codes=(*_CODES, "file_etag_conflict"), statuses=(200, 404, 409),
    body_bytes_max=BODY_BYTES_MAX, if_match="body",
)  # fmt: skip

FILES: Final = (FILES_TREE, FILES_READ, FILES_WRITE)

FILE_CAPABILITIES: Final = frozenset({"files.tree.path", "files.write-openclaw-config"})
"""What the routes can do beyond being there."""
