"""Serves the declared tools over stdio; what the plane refuses is an answer a model can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from holdfast import __version__
from holdfast.town_tool.client import ToolClient, ToolError, read_settings
from holdfast.town_tool.declared import BY_NAME, TOOLS
from holdfast.town_tool.shown import shown


def make_server(client: ToolClient, environ: Mapping[str, str]) -> Server[Any]:
    """Return the server of a client's tools."""

    async def list_tools(
        _context: object, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.summary,
                    input_schema=tool.schema(),
                    annotations=types.ToolAnnotations(
                        read_only_hint=tool.reads, open_world_hint=False
                    ),
                )
                for tool in TOOLS
            ]
        )

    async def call_tool(
        _context: object, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = BY_NAME.get(params.name)
        if tool is None:
            names = ", ".join(BY_NAME)
            return _answer(f"there is no tool {params.name}\ntake one of {names}", failed=True)
        given = dict(params.arguments or {})
        for argument in tool.arguments:
            if argument.name not in given and argument.env and environ.get(argument.env):
                given[argument.name] = environ[argument.env]
        try:
            said = await anyio.to_thread.run_sync(lambda: client.call(tool, given))
        except ToolError as error:
            return _answer(error.text, failed=True)
        return _answer(shown(tool.name, said), said)

    return Server(
        "holdfast-town",
        version=__version__,
        instructions="Tools of an agent of a town. Begin with prime; end with done.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _answer(
    text: str, said: Mapping[str, Any] | None = None, *, failed: bool = False
) -> types.CallToolResult:
    # As JSON it went over the wire, so it is plain data.
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)],
        structured_content=None if said is None else json.loads(json.dumps(said)),
        is_error=failed,
    )


def serve(environ: Mapping[str, str]) -> None:
    """Serve over stdio until the other side closes it; raise SettingsError."""
    server = make_server(ToolClient(read_settings(environ)), environ)

    async def run() -> None:
        async with stdio_server() as (reads, writes):
            await server.run(reads, writes, server.create_initialization_options())

    anyio.run(run)
