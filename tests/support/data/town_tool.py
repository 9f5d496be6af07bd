"""Stands for `holdfast-tool` in tests: sends a tool's options as JSON to its address."""

import json
import os
import sys
import urllib.request


def main(arguments: list[str]) -> int:
    """Call one tool; return the exit code."""
    pairs = (argument.lstrip("-").partition("=") for argument in arguments[1:])
    body = json.dumps({name: value for name, _, value in pairs})
    request = urllib.request.Request(
        f"{os.environ['HOLDFAST_TOOL_URL']}/{arguments[0]}", data=body.encode(), method="POST",
        headers={"Authorization": f"Bearer {os.environ['HOLDFAST_TOOL_TOKEN']}"},
    )  # fmt: skip
    with urllib.request.urlopen(request) as answer:
        sys.stdout.write(answer.read().decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
