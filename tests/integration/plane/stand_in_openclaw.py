"""What stands in for Node and OpenClaw where only their command line matters.

    node openclaw.mjs gateway --port N | --version | pairing list|approve | devices list|approve

Requests lie in `pending.json` of the state folder, where a test puts them. `broken` there makes
`pairing list` print nonsense.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
from pathlib import Path

STATE = Path(os.environ.get("OPENCLAW_STATE_DIR", "."))


def read() -> dict[str, list[dict[str, str]]]:
    try:
        found: dict[str, list[dict[str, str]]] = json.loads((STATE / "pending.json").read_text())
    except FileNotFoundError:
        return {"channels": [], "devices": []}
    return found


def write(pending: dict[str, list[dict[str, str]]]) -> None:
    fresh = STATE / "pending.json.new"
    fresh.write_text(json.dumps(pending))
    fresh.replace(STATE / "pending.json")


def run(words: list[str]) -> int:
    with (STATE / "commands.log").open("a") as log:
        log.write(" ".join(words) + "\n")
    pending = read()
    if words[:2] == ["pairing", "list"]:
        if (STATE / "broken").exists():
            sys.stdout.write("Segmentation fault\n")
            return 0
        sys.stdout.write(json.dumps({"channel": words[2], "requests": pending["channels"]}))
        return 0
    if words[:2] == ["devices", "list"]:
        sys.stdout.write(json.dumps({"pending": pending["devices"], "paired": []}))
        return 0
    kind, key = ("channels", "code") if words[0] == "pairing" else ("devices", "requestId")
    name = words[3] if words[0] == "pairing" else words[2]
    kept = [one for one in pending[kind] if one[key] != name]
    if len(kept) == len(pending[kind]):
        sys.stderr.write(f"No pending pairing request found for code {name}\n")
        return 1
    write({**pending, kind: kept})
    sys.stdout.write("Approved\n")
    return 0


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"ready": true}')

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet."""


def main(argv: list[str]) -> int:
    words = argv[2:]
    if "--version" in words:
        sys.stdout.write("OpenClaw 2026.3.13 (abc1234)\n")
        return 0
    if words[0] == "gateway":
        port = int(words[words.index("--port") + 1])
        http.server.ThreadingHTTPServer(("127.0.0.1", port), Gateway).serve_forever()
    return run(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
