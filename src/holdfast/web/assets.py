"""Scripts, styles and pictures, read once when the plane starts and served from memory.

A request names a file of a fixed set, so no path can lead out of it. Addresses in pages carry a
hash of the content and are kept by browsers for ever; without the hash (as scripts import each
other) the file is requested each time and usually answered with 304.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.web.limits import GZIP_BYTES_MIN
from holdfast.wire.api.call import Call, Refusal, Reply

FOLDER: Final = Path(__file__).parent / "static"
NEEDED: Final = (
    "vendor/htmx.min.js",
    "vendor/hx-sse.min.js",
    "vendor/uPlot.iife.min.js",
    "vendor/uPlot.min.css",
)

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
_PACKED: Final = frozenset({".js", ".css", ".svg"})
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"
_GZIP_LEVEL: Final = 9


class MissingAssetError(Exception):
    """A file that the pages load is not there; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file; `packed` is its gzip form, or nothing where that is not worth while."""

    body: bytes
    packed: bytes
    content_type: str
    version: str


def _load(path: Path) -> Asset:
    """Return a file, packed where that is worth while."""
    body = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    packed = b""
    if path.suffix in _PACKED and len(body) >= GZIP_BYTES_MIN:
        packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return Asset(
        body=body,
        packed=packed,
        content_type=kind or "application/octet-stream",
        version=hashlib.sha256(body).hexdigest()[:16],
    )


class Assets:
    """The files of the dashboard by their paths below `static/`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read the files; raise MissingAssetError where one that pages load is missing."""
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        self._assets = {
            path.relative_to(folder).as_posix(): _load(path)
            for path in found
            if not path.name.startswith(".")
        }
        missing = [name for name in NEEDED if name not in self._assets]
        if missing:
            names = ", ".join(missing)
            message = f"the dashboard lacks {names}; run `make up`, which installs them from npm"
            raise MissingAssetError(message)

    def url(self, name: str) -> str:
        """Return the address of a file, with its hash; raise KeyError where there is none."""
        return f"/static/{name}?v={self._assets[name].version}"

    async def serve(self, call: Call) -> Reply:
        """Answer with a file, or 304 where the caller has it."""
        asset = self._assets.get(call.path["path"])
        if asset is None:
            raise Refusal(404, "no_such_file", "there is no such file", fix="reload the page")
        wants_packed = bool(asset.packed) and "gzip" in call.header.get("accept-encoding", "")
        etag = f'"{asset.version}{"-gz" if wants_packed else ""}"'
        headers = {
            "etag": etag,
            "vary": "accept-encoding",
            "cache-control": _FOR_EVER if call.query.get("v") == asset.version else _ASK_AGAIN,
        }
        given = {tag.strip() for tag in call.header.get("if-none-match", "").split(",")}
        if etag in given:
            return Reply(status=304, headers=headers, content_type=asset.content_type)
        if wants_packed:
            headers["content-encoding"] = "gzip"
        body = asset.packed if wants_packed else asset.body
        return Reply(body, headers=headers, content_type=asset.content_type)
