"""Routes of the files in the agent's state folder.

The agent's configuration is one of them, and is written through its store, so that a bad one is
recognised on either route.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from holdfast.machine.controller.api.binder import Call, bind, wrong
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.files.paths import PARTS_MAX, split
from holdfast.wire.controller import files as wire
from holdfast.wire.controller.files import Node, TextAnswer, TreeAnswer, WriteOrder, WrittenAnswer


async def _tree(context: Context, call: Call[None]) -> TreeAnswer:
    """Answer with the tree below `?path=`, at most `?depth=` deep."""
    parts = split(call.query.get("path", ""))
    depth = call.number("depth") or PARTS_MAX
    found = await asyncio.to_thread(context.maintenance.files.tree, parts, depth=depth)
    return TreeAnswer(tree=msgspec.convert(found.nodes, list[Node]), truncated=found.truncated)


async def _read(context: Context, call: Call[None]) -> TextAnswer:
    found = await asyncio.to_thread(
        context.maintenance.files.read, split(call.query.get("path", ""))
    )
    return TextAnswer(content=found.content, etag=found.etag)


async def _write(context: Context, call: Call[WriteOrder]) -> WrittenAnswer:
    body = call.body
    parts, etag = split(body.path), body.etag or None
    if body.create and etag is not None:
        raise wrong("etag", "a file that is created has none yet")
    if context.maintenance.config.path == Path(
        context.agent.profile.state_folder(context.agent.place), *parts
    ):
        return await _write_config(context, body.content, etag)
    etag = await asyncio.to_thread(
        context.maintenance.files.write, parts, body.content, etag=etag, create=body.create
    )
    context.log.emit("files.written", path="/".join(parts), etag=etag[:12], created=body.create)
    return WrittenAnswer(etag=etag)


async def _write_config(context: Context, content: str, etag: str | None) -> WrittenAnswer:
    """Write the configuration, answering in the format of this route."""
    try:
        change = await context.maintenance.config.write(
            content.encode("utf-8", "replace"), etag=etag
        )
    except RefusedError as error:
        if error.code == "config_etag_conflict":
            raise RefusedError(409, "file_etag_conflict", error.error) from error
        raise
    return WrittenAnswer(etag=change.etag)


FILES: Final = (
    bind(wire.FILES_TREE, _tree),
    bind(wire.FILES_READ, _read),
    bind(wire.FILES_WRITE, _write),
)
