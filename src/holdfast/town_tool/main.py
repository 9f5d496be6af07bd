"""The command line `holdfast-tool`: a subcommand for each tool, and the MCP server."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from holdfast.town_tool.client import (
    EndedError,
    SettingsError,
    ToolClient,
    ToolError,
    UnreachableError,
    read_settings,
)
from holdfast.town_tool.declared import BY_NAME, TOOLS, Argument, Tool
from holdfast.town_tool.shown import shown

TAKEN: Final = 0
REFUSED: Final = 1
MISUSED: Final = 2
UNREACHABLE: Final = 3
ENDED: Final = 4
"""Exit codes; argparse has 2 for wrong words as well."""

_EPILOG: Final = """exit codes:
  0  it was taken, or was so already      1  it was refused: the text says how to go on
  2  wrong words, or a variable is missing  3  the plane cannot be reached: try again later
  4  the attempt has ended: end the program

environment: HOLDFAST_TOOL_URL and HOLDFAST_TOOL_TOKEN, which the plane sets for each attempt"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = _parser().parse_args(argv)
    try:
        settings = read_settings(os.environ)
        if words.tool == "mcp":
            return _serve_mcp()
        client = ToolClient(settings)
        tool = BY_NAME[words.tool]
        if getattr(words, "every", None):
            return _beat(client, tool, words.every)
        said = client.call(tool, _arguments(tool, vars(words), os.environ))
    except ToolError as error:
        print(f"holdfast-tool: {error.text}", file=sys.stderr)  # noqa: T201  a program
        return _exit_code(error)
    print(json.dumps(said, indent=2) if words.json else shown(tool.name, said))  # noqa: T201  a program
    return TAKEN


def _exit_code(error: ToolError) -> int:
    match error:
        case SettingsError():
            return MISUSED
        case UnreachableError():
            return UNREACHABLE
        case EndedError():
            return ENDED
        case _:
            return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="holdfast-tool",
        description="What an agent of a town says to its plane, and asks of it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    for tool in TOOLS:
        one = tools.add_parser(tool.name, help=tool.summary, description=tool.summary)
        one.add_argument("--json", action="store_true", help="print the answer as JSON")
        for argument in tool.arguments:
            _add(one, argument)
        if tool.name == "heartbeat":
            one.add_argument(
                "--every", type=_seconds, metavar="SECONDS",
                help="go on with one each so many seconds until the attempt ends",
            )  # fmt: skip
    tools.add_parser("mcp", help="serve the tools over stdio by the Model Context Protocol")
    return parser


def _add(parser: argparse.ArgumentParser, argument: Argument) -> None:
    summary = argument.summary.replace("%", "%%")
    if argument.name == "ids":
        parser.add_argument("ids", nargs="+", metavar="ID", help=summary)
        return
    parser.add_argument(
        argument.option,
        dest=argument.name,
        required=argument.required,
        choices=argument.choices or None,
        nargs="+" if argument.kind == "texts" else None,
        type=int if argument.kind == "number" else str,
        help=summary,
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 60:  # noqa: PLR2004  an attempt is silent after 90 s
        raise argparse.ArgumentTypeError("want 1 to 60: an attempt counts as silent after 90 s")
    return seconds


def _arguments(tool: Tool, words: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what to send: what was said, else what the environment says for it."""
    given = {}
    for argument in tool.arguments:
        value = words.get(argument.name)
        if value is None and argument.env:
            value = environ.get(argument.env) or None
        if value is not None:
            given[argument.name] = sys.stdin.read() if value == "-" else value
    return given


def _beat(
    client: ToolClient, tool: Tool, every_s: float, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Send heartbeats until the attempt ends; a plane that is away for a while is waited for."""
    while True:
        try:
            client.call(tool, {})
        except UnreachableError as error:
            print(f"holdfast-tool: {error.message}", file=sys.stderr)  # noqa: T201  a program
        sleep(every_s)


def _serve_mcp() -> int:
    try:
        from holdfast.town_mcp.server import serve  # noqa: PLC0415  only where it is installed
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"mcp", "mcp_types"}:
            raise
        raise SettingsError(
            "no_mcp", "the MCP server needs the package mcp, which is not installed here",
            "pip install 'holdfast[towns]', or use the other commands, which need nothing",
        ) from None  # fmt: skip
    serve(os.environ)
    return TAKEN


def run() -> None:
    """Run as a program."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
