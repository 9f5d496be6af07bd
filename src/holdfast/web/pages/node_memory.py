"""The memory files of a node, and the history of one: what each version changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from holdfast.letters import topics
from holdfast.web.limits import (
    LOOK_S,
    MEMORY_FILES,
    MEMORY_VERSIONS,
    REDRAW_S,
    VERSION_DIFFERENCES_MAX,
)
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Cache, Context, Names, Page, paging
from holdfast.web.parts.difference import Piece, difference
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.observed import observed
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import MemoryFile, MemoryList, MemoryVersion, MemoryVersions
from holdfast.wire.observing import bytes_text


class FileRow(NamedTuple):
    """One memory file."""

    href: str
    path: str
    versions: str
    size: str
    last: Moment | None


class VersionRow(NamedTuple):
    """One version of a file; `is_shown` is the one whose difference is on the page."""

    id: str
    href: str
    at: Moment | None
    size: str
    is_shown: bool


def file_row(node: str, found: MemoryFile, *, now_ms: int) -> FileRow:
    """Return one file."""
    return FileRow(
        href=_href(node, path=found.path),
        path=found.path,
        versions=f"{found.versions:,}",
        size=bytes_text(found.bytes),
        last=moment(found.last_at, now_ms),
    )


def _href(node: str, **query: str) -> str:
    return f"/nodes/{node}/memory?{urlencode({k: v for k, v in query.items() if v})}"


class Shown(NamedTuple):
    """A version, as what it changed of the one before; `first` says that it is the oldest known.

    `is_partial` says that one before it is on another page, and `cut` that it is not whole.
    """

    pieces: Sequence[Piece]
    first: bool
    is_partial: bool
    cut: bool


class Versions(Cache[tuple[str, str], tuple[Piece, ...]]):
    """The differences of versions of files by their texts, for a page that is drawn again."""

    most = VERSION_DIFFERENCES_MAX


async def shown_version(
    kept: Versions, found: Sequence[MemoryVersion], at: int, *, more: bool
) -> Shown:
    """Return the version at a place of a page whose versions are the latest first."""
    this = found[at]
    before = found[at + 1] if at + 1 < len(found) else None
    pieces: Sequence[Piece] = (Piece("same", this.content),)
    if before is not None:
        texts = (before.content, this.content)
        # Two texts of the largest size take 44 ms, so a thread works that out.
        pieces = kept.get(texts) or kept.keep(texts, await asyncio.to_thread(difference, *texts))
    return Shown(
        pieces=pieces,
        first=before is None and not more,
        is_partial=before is None and more,
        cut=this.cut or (before is not None and before.cut),
    )


async def load(context: Context, call: Call) -> Names:
    """Return the files, or one file with its versions."""
    node, file = call.path["id"], call.query.get("path", "")
    _, names = await observed(context, call, "memory")
    names |= {"file": file, "files": (), "versions": (), "shown": None, "next": ""}
    if file:
        return names | await _file(context, call, node, file)
    listed = await context.api.ask(
        call, "content.memory", MemoryList, path={"id": node}, query=paging(call, MEMORY_FILES)
    )
    rows = [file_row(node, one, now_ms=call.now_ms) for one in listed.items if one.path]
    older = f"/nodes/{node}/memory?{urlencode({'after': listed.next})}" if listed.next else ""
    return {**names, "files": sorted(rows, key=lambda row: row.path), "next": older}


async def _file(context: Context, call: Call, node: str, file: str) -> Names:
    """Return the versions of a file, and the one that is looked at."""
    query = {**paging(call, MEMORY_VERSIONS), "path": file}
    found = await context.api.ask(
        call, "content.versions", MemoryVersions, path={"id": node}, query=query
    )
    ids = [one.id for one in found.items]
    wanted = call.query.get("version", "")
    at = ids.index(wanted) if wanted in ids else 0
    after = call.query.get("after", "")
    shown = None
    if found.items:
        kept = context.cache(Versions)
        shown = await shown_version(kept, found.items, at, more=bool(found.next))
    return {
        "versions": tuple(
            VersionRow(
                id=one.id,
                href=_href(node, path=file, version=one.id, after=after),
                at=moment(one.at, call.now_ms),
                size=bytes_text(len(one.content.encode())),
                is_shown=place == at,
            )
            for place, one in enumerate(found.items)
        ),
        "shown": shown,
        "next": _href(node, path=file, after=found.next) if found.next else "",
    }


PAGE: Final = Page(
    "node-memory",
    "node_memory.html",
    load,
    section="nodes",
    live=Redrawn(
        frozenset({topics.CONTENT, topics.NODE}),
        ("node-facts", "node-sealed", "memory"),
        look_s=LOOK_S,
        rest_s=REDRAW_S,
        own=True,
    ),
)
