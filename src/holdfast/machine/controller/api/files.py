"""The routes about the files in the agent's state folder.

The agent's configuration is one of them, and is written through its store, so that a bad one is
known whichever way it comes.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

from aiohttp import web

from holdfast.machine.controller.api.context import Desk, Route
from holdfast.machine.controller.api.reply import (
    answer,
    read_object,
    take_etag,
    take_flag,
    take_text,
    wrong,
)
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.files.paths import PARTS_MAX, split
from holdfast.machine.controller.files.state_folder import FILE_BYTES_MAX

_BODY_BYTES_MAX: Final = 6 * FILE_BYTES_MAX + 65_536
"""A file in a request: JSON writes a control character as six."""

_DEPTH: Final = re.compile(r"[1-9][0-9]?")


async def _tree(desk: Desk, request: web.Request) -> web.Response:
    """Answer with the tree below `?path=`, at most `?depth=` deep."""
    parts = split(request.query.get("path", ""))
    given = request.query.get("depth", str(PARTS_MAX))
    if not _DEPTH.fullmatch(given):
        wrong("depth", "want a number from 1 to 99")
    tree = await asyncio.to_thread(desk.care.files.tree, parts, depth=int(given))
    return answer({"tree": tree.nodes, "truncated": tree.truncated})


async def _read(desk: Desk, request: web.Request) -> web.Response:
    found = await asyncio.to_thread(desk.care.files.read, split(request.query.get("path", "")))
    return answer({"content": found.content, "etag": found.etag})


async def _write(desk: Desk, request: web.Request) -> web.Response:
    body = await read_object(request, limit=_BODY_BYTES_MAX)
    parts = split(take_text(body, "path", most=1_024))
    content = take_text(body, "content", most=FILE_BYTES_MAX)
    etag, create = take_etag(body, request), take_flag(body, "create", default=False)
    if create and etag is not None:
        wrong("etag", "a file that is created has none yet")
    if desk.care.config.path == Path(desk.agent.profile.state_folder(desk.agent.place), *parts):
        return await _write_config(desk, content, etag)
    etag = await asyncio.to_thread(desk.care.files.write, parts, content, etag=etag, create=create)
    desk.log.emit("files.written", path="/".join(parts), etag=etag[:12], created=create)
    return answer({"ok": True, "etag": etag})


async def _write_config(desk: Desk, content: str, etag: str | None) -> web.Response:
    """Write the configuration in the words of this route."""
    try:
        change = await desk.care.config.write(content.encode("utf-8", "replace"), etag=etag)
    except RefusedError as error:
        if error.code == "config_etag_conflict":
            raise RefusedError(409, "file_etag_conflict", error.error) from error
        raise
    return answer({"ok": True, "etag": change.etag})


FILES: Final = (
    Route("GET", "files/tree", _tree, "files.tree"),
    Route("GET", "files/read", _read, "files.read"),
    Route("POST", "files/write", _write, "files.write"),
)

FILE_CAPABILITIES: Final = frozenset({"files.tree.path", "files.write-openclaw-config"})
"""What the routes can do beyond being there."""
