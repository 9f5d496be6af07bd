"""The bundled agent: a small program that behaves like an agent gateway.

It answers the same probes as OpenClaw's gateway, prints, writes transcripts, and can be told to
crash, hang, exit, leak, slow down or find its configuration broken, so that everything around an
agent can be tried without one. Standard library only, and few modules of it: it starts in a few
hundredths of a second. It listens on loopback only and must never be taken for a real agent.

    python -m holdfast.machine.agents.demo --port 3001 [--beat-s 5] [--start-ms 0] [--fault NAME:S]
    python -m holdfast.machine.agents.demo --version | doctor --fix
"""

from __future__ import annotations

import json
import os
import signal
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

VERSION: Final = "2026.1.0"
COMMIT: Final = "abc1234"
EX_CONFIG: Final = 78

_TRANSCRIPT_BYTES_MAX: Final = 1_048_576
_TRANSCRIPTS_KEPT: Final = 5
_LEAK_BYTES: Final = 1_048_576
_HEAD_BYTES_MAX: Final = 16_384
_SLOW_S: Final = 1.0
_PAGE: Final = b"<!doctype html><title>Demo agent</title><h1>Demo agent</h1><p>It works.</p>"


class Options(NamedTuple):
    """What the command line and the environment asked for."""

    port: int
    beat_s: float
    start_ms: int
    fault: str
    state: Path
    token: str


class Demo:
    """The agent's condition, shared by the threads that answer."""

    def __init__(self, options: Options) -> None:
        """Start unready; nothing has gone wrong yet."""
        self.options = options
        self.started_s = time.monotonic()
        self.hanging = threading.Event()
        self.slow_s = 0.0
        self.leaked: list[bytearray] = []

    @property
    def uptime_ms(self) -> int:
        """Return milliseconds since the start."""
        return int((time.monotonic() - self.started_s) * 1_000)

    @property
    def ready(self) -> bool:
        """Return whether it has finished starting."""
        return self.uptime_ms >= self.options.start_ms

    def break_down(self, fault: str) -> bool:
        """Do what `fault` names; return False when there is no such fault."""
        if fault == "crash":
            say("error", "told to crash")
            os._exit(1)
        elif fault == "exit":
            say("info", "told to exit")
            os._exit(0)
        elif fault == "misconfigured":
            (self.options.state / "broken").write_text("told to\n")
            os._exit(EX_CONFIG)
        elif fault == "hang":
            say("error", "told to hang")
            self.hanging.set()
        elif fault == "slow":
            self.slow_s = _SLOW_S
        elif fault == "leak":
            self.leaked.append(bytearray(os.urandom(_LEAK_BYTES) * 16))
        else:
            return False
        return True

    def probe(self, path: str) -> tuple[int, dict[str, object]] | None:
        """Return the answer to a probe, in the words of OpenClaw's gateway."""
        failing = [] if self.ready else ["startup-sidecars"]
        if path in {"/health", "/healthz"}:
            return 200, {"ok": True, "status": "live"}
        if path in {"/ready", "/readyz"}:
            body = {"ready": self.ready, "failing": failing, "uptimeMs": self.uptime_ms}
            return (200 if self.ready else 503), body
        if path in {"/startup", "/startupz"}:
            status = "started" if self.ready else "starting"
            pending = {} if self.ready else {"pendingReason": failing[0]}
            known = {"ok": self.ready, "status": status, "version": VERSION}
            return (200 if self.ready else 503), {**known, "uptimeMs": self.uptime_ms, **pending}
        return None


class Server(socketserver.ThreadingTCPServer):
    """A thread per connection, on loopback."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, demo: Demo) -> None:
        """Listen on the port of the options."""
        self.demo = demo
        super().__init__(("127.0.0.1", demo.options.port), Exchange)


class Exchange(socketserver.StreamRequestHandler):
    """One request, one answer, then the end of the connection."""

    timeout = 10

    @property
    def demo(self) -> Demo:
        """Return the agent that is asked."""
        assert isinstance(self.server, Server), "only a Server makes exchanges"
        return self.server.demo

    def handle(self) -> None:
        """Read a request head and answer it."""
        demo = self.demo
        head = self._head()
        if head is None:
            return
        if demo.hanging.is_set():
            threading.Event().wait()
        time.sleep(demo.slow_s)
        method, path, token = head
        if method == "POST" and path.startswith("/_demo/"):
            self._fault(path.removeprefix("/_demo/"), token)
            return
        probe = demo.probe(path)
        if probe is not None:
            self._send(probe[0], json.dumps(probe[1]).encode(), "application/json")
        else:
            self._send(200, _PAGE, "text/html; charset=utf-8")

    def _head(self) -> tuple[str, str, str] | None:
        words = self.rfile.readline(_HEAD_BYTES_MAX).decode("latin-1").split()
        token = ""
        while (line := self.rfile.readline(_HEAD_BYTES_MAX).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "authorization":
                token = value.strip().removeprefix("Bearer ")
        return (words[0], words[1].partition("?")[0], token) if len(words) > 1 else None

    def _fault(self, fault: str, token: str) -> None:
        import hmac  # noqa: PLC0415  it loads a library of 4 MB that a running agent never needs

        expected = self.demo.options.token
        if not expected or not hmac.compare_digest(token.encode(), expected.encode()):
            self._send(401, b'{"error":"Unauthorized"}', "application/json")
            return
        known = self.demo.break_down(fault)
        body = b'{"ok":true}' if known else b'{"error":"no such fault"}'
        self._send(200 if known else 404, body, "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        head = (
            f"HTTP/1.1 {status} -\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.wfile.write(head.encode("latin-1") + body)


class Transcript:
    """A conversation with nobody, as JSON lines in the form of OpenClaw's version 3."""

    def __init__(self, folder: Path) -> None:
        """Write below `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._turns = 0
        self._path = self._begin()

    def turn(self) -> None:
        """Write one question and one answer; begin a new file when this one is full."""
        self._turns += 1
        asked, said = f"ping {self._turns}", f"pong {self._turns}"
        self._write(_message("user", asked), _message("assistant", said))
        if self._path.stat().st_size > _TRANSCRIPT_BYTES_MAX:
            self._path = self._begin()

    def _begin(self) -> Path:
        name = f"s-{time.time_ns() // 1_000_000}-{os.getpid()}"
        for old in sorted(self._folder.glob("s-*.jsonl"))[: -(_TRANSCRIPTS_KEPT - 1)]:
            old.unlink(missing_ok=True)
        self._path = self._folder / f"{name}.jsonl"
        self._write({"type": "session", "version": 3, "id": name, "timestamp": _now()})
        return self._path

    def _write(self, *rows: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def _message(role: str, text: str) -> dict[str, object]:
    content = [{"type": "text", "text": text}]
    known = {"role": role, "content": content, "timestamp": time.time_ns() // 1_000_000}
    if role == "assistant":
        usage = {"input": len(text), "output": len(text), "totalTokens": 2 * len(text)}
        known |= {"provider": "demo", "model": "demo-1", "usage": usage, "stopReason": "stop"}
    return {"type": "message", "id": os.urandom(4).hex(), "timestamp": _now(), "message": known}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def say(level: str, text: str) -> None:
    """Print a line as an agent does: information on stdout, the rest on stderr."""
    out = sys.stdout if level == "info" else sys.stderr
    print(f"{_now()} [demo] {text}", file=out, flush=True)


def main(arguments: list[str]) -> int:
    """Run the agent until it is told to end; return its exit code."""
    state = Path(os.environ.get("DEMO_STATE_DIR", "."))
    if "--version" in arguments:
        sys.stdout.write(f"Demo {VERSION} ({COMMIT})\n")
        return 0
    if "doctor" in arguments:
        return mend(state)
    if (state / "broken").exists():
        say("error", f"configuration is broken: {state / 'broken'}")
        return EX_CONFIG
    demo = Demo(read_options(arguments, state))
    serve(demo)
    return 0


def mend(state: Path) -> int:
    """Remove what makes the configuration broken, unless it says that it is hopeless."""
    broken = state / "broken"
    if broken.exists() and "hopeless" not in broken.read_text():
        broken.unlink()
    say("info", "doctor has looked")
    return 0


def read_options(arguments: list[str], state: Path) -> Options:
    """Return the options; raise ValueError for a name without a value or a bad number."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return Options(
        port=int(given.pop("--port", "3001")),
        beat_s=float(given.pop("--beat-s", "5")),
        start_ms=int(given.pop("--start-ms", "0")),
        fault=given.pop("--fault", ""),
        state=state,
        token=os.environ.get("DEMO_TOKEN", ""),
    )


def serve(demo: Demo) -> None:
    """Answer, write and print until SIGTERM or SIGINT; a hanging agent ignores both."""
    say("info", "starting")
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        if not demo.hanging.is_set():
            stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server = Server(demo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say("info", f"listening on 127.0.0.1:{server.server_address[1]}")
    transcript = Transcript(demo.options.state / "agents" / "main" / "sessions")
    fault, _, after = demo.options.fault.partition(":")
    if fault:
        threading.Timer(float(after or 0), demo.break_down, [fault]).start()
    while not stop.wait(demo.options.beat_s):
        if not demo.hanging.is_set():
            transcript.turn()
            say("info", "wrote a turn")
    say("info", "stopping")
    _leave()


def _leave() -> NoReturn:
    """End now: the threads that answer are not waited for."""
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
