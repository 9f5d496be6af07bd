"""The bundled agent: a small program that behaves like an agent gateway.

It answers the same probes as OpenClaw's gateway, prints, writes transcripts, and can be made to
crash, hang, exit, leak, slow down or find its configuration broken, so that everything around an
agent can be tested without one. Standard library only, with few imports: it starts in a few
hundredths of a second. It listens on loopback only and must not be used as a real agent.

    python -m holdfast.machine.agents.demo --port 3001 [--beat-s 5] [--start-ms 0] [--fault NAME:S]
    python -m holdfast.machine.agents.demo --version | doctor --fix
    python -m holdfast.machine.agents.demo pairing list|approve CHANNEL [CODE] [--json] [--notify]
    python -m holdfast.machine.agents.demo devices list|approve [ID] [--json]
    python -m holdfast.machine.agents.demo agent --port N --message-file F --folder DIR --env F

It answers approved people only. A person who writes on its page or by the configured channel gets a
pairing request first, stored in the files and by the rules of OpenClaw releases up to 2026.7.
`--stranger-s N` simulates a message from a new person after N seconds.

Its configuration is `demo.json` in its state folder, an object of beatS, channels, commandS
(duration of each command line), startMs, fault, doctorS (duration of the doctor) and doctorStubborn
(ignores SIGTERM); on any other key the agent exits with 78, as OpenClaw does.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "2026.1.0"
COMMIT: Final = "abc1234"
CONFIG_FILE: Final = "demo.json"
CHANNEL: Final = "chat"
EX_CONFIG: Final = 78

_TRANSCRIPT_BYTES_MAX: Final = 1_048_576
_TRANSCRIPTS_KEPT: Final = 5
_LEAK_BYTES: Final = 1_048_576
_HEAD_BYTES_MAX: Final = 16_384
_SLOW_S: Final = 1.0
_DOCTOR_LINE_S: Final = 0.05
_CONFIG_KEYS: Final = {
    "beatS",
    "channels",
    "startMs",
    "fault",
    "doctorS",
    "doctorStubborn",
    "commandS",
}
_BODY_BYTES_MAX: Final = 4_096
_PENDING_MAX: Final = 3
_CHANNEL_TTL_S: Final = 3_600
_DEVICE_TTL_S: Final = 300
_CODE_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_WS_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WS_CLOSE: Final = 8
_WS_LONG: Final = 126
_PAGE: Final = """<!doctype html><meta charset="utf-8"><title>Demo agent</title>
<h1>Demo agent</h1><p>It works. It talks only to people who were let in.</p>
<form method="post" action="say"><label>I am <input name="sender" value="ada" required></label>
<label>and say <input name="text" value="ping"></label> <button>Say it</button></form>
<p role="status">{said}</p>"""


class Options(NamedTuple):
    """Options from the command line and the environment."""

    port: int
    beat_s: float
    start_ms: int
    fault: str
    stranger_s: float
    state: Path
    token: str


class Demo:
    """State of the agent, shared by the request threads."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.started_s = time.monotonic()
        self.hanging = threading.Event()
        self.slow_s = 0.0
        self.leaked: list[bytearray] = []
        self.lobby = Lobby(options.state)

    @property
    def uptime_ms(self) -> int:
        """Return milliseconds since the start."""
        return int((time.monotonic() - self.started_s) * 1_000)

    @property
    def ready(self) -> bool:
        """Return whether the start is complete."""
        return self.uptime_ms >= self.options.start_ms

    def break_down(self, fault: str) -> bool:
        """Trigger the fault named `fault`; return False if there is none."""
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
        """Return the answer to a probe, in the format of OpenClaw's gateway."""
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
        self.demo = demo
        super().__init__(("127.0.0.1", demo.options.port), Exchange)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless it is that of a caller who is gone or stalls."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Exchange(socketserver.StreamRequestHandler):
    """One request and its answer; the connection then closes."""

    timeout = 10
    _key = ""

    @property
    def demo(self) -> Demo:
        """Return the demo agent behind this server."""
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
        method, path, token, body = head
        if method == "GET" and path == "/echo" and self._key:
            self._echo()
            return
        if method == "POST" and path.startswith("/_demo/"):
            self._fault(path.removeprefix("/_demo/"), token)
            return
        if method == "POST" and path == "/agent":
            self._work(token, body)
            return
        if method == "POST" and path == "/say":
            self._say(body)
            return
        probe = demo.probe(path)
        if probe is not None:
            self._send(probe[0], json.dumps(probe[1]).encode(), "application/json")
        else:
            self._send(200, _PAGE.format(said="").encode(), "text/html; charset=utf-8")

    def _say(self, body: bytes) -> None:
        """Answer a message from the page."""
        import html  # noqa: PLC0415  as below: a running agent rarely needs it
        from urllib.parse import parse_qs  # noqa: PLC0415

        said = parse_qs(body.decode("utf-8", "replace"))
        sender, text = said.get("sender", [""])[0][:64], said.get("text", [""])[0][:256]
        reply = self.demo.lobby.hear(CHANNEL, sender, text) if sender else "Who are you?"
        page = _PAGE.format(said=html.escape(reply))
        self._send(200, page.encode(), "text/html; charset=utf-8")

    def _work(self, token: str, body: bytes) -> None:
        """Do what an attempt of a town asks for."""
        if self._knows(token):
            work().serve(self.connection, json.loads(body))
        else:
            self._send(401, b'{"error":"Unauthorized"}', "application/json")

    def _head(self) -> tuple[str, str, str, bytes] | None:
        words = self.rfile.readline(_HEAD_BYTES_MAX).decode("latin-1").split()
        token, length = "", 0
        while (line := self.rfile.readline(_HEAD_BYTES_MAX).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "authorization":
                token = value.strip().removeprefix("Bearer ")
            elif name.lower() == "sec-websocket-key":
                self._key = value.strip()
            elif name.lower() == "content-length" and value.strip().isdigit():
                length = min(int(value), _BODY_BYTES_MAX)
        if len(words) < 2:  # noqa: PLR2004  method and path
            return None
        return words[0], words[1].partition("?")[0], token, self.rfile.read(length)

    def _echo(self) -> None:
        """Switch to a WebSocket that echoes each text; long or cut frames end it."""
        import base64  # noqa: PLC0415  as hmac below
        import hashlib  # noqa: PLC0415

        digest = hashlib.sha1(f"{self._key}{_WS_GUID}".encode()).digest()  # noqa: S324  RFC 6455
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        self.connection.settimeout(None)
        while len(head := self.rfile.read(6)) == 6 and head[1] & 0x7F < _WS_LONG:  # noqa: PLR2004
            mask, kind = head[2:6], head[0] & 0x0F
            text = self.rfile.read(head[1] & 0x7F)
            body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
            self.wfile.write(bytes((head[0], len(body))) + body)
            if kind == _WS_CLOSE:
                return

    def _knows(self, token: str) -> bool:
        import hmac  # noqa: PLC0415  it loads a library of 4 MB that a running agent never needs

        expected = self.demo.options.token
        return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())

    def _fault(self, fault: str, token: str) -> None:
        if not self._knows(token):
            self._send(401, b'{"error":"Unauthorized"}', "application/json")
            return
        if fault == "device":
            request = self.demo.lobby.knock()
            self._send(200, json.dumps({"requestId": request}).encode(), "application/json")
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


class Lobby:
    """Approved and waiting people, in the files that OpenClaw used up to 2026.7."""

    def __init__(self, state: Path) -> None:
        """Store below `state`; files are created on the first write."""
        self._credentials = state / "credentials"
        self._devices = state / "devices"

    def hear(self, channel: str, sender: str, text: str) -> str:
        """Return the reply to a person: an answer, or how to request approval."""
        with _locked(self._credentials):
            if sender in self._allowed(channel):
                return f"pong: {text}"
            waiting = self._waiting(channel)
            mine = next((row for row in waiting if row["id"] == sender), None)
            if mine is None and len(waiting) >= _PENDING_MAX:
                return "Too many people are waiting; try again later."
            if mine is None:
                mine = {"id": sender, "code": _draw_code(), "createdAt": _stamp()}
                waiting.append(mine)
            mine |= {"lastSeenAt": _stamp(), "meta": {"username": sender, "accountId": "default"}}
            self._keep(channel, waiting)
        return f"I do not know you yet. Ask my owner to approve the pairing code {mine['code']}."

    def knock(self) -> str:
        """Return the id of a new device request."""
        drawn = os.urandom(16).hex()
        request = "-".join((drawn[:8], drawn[8:12], drawn[12:16], drawn[16:20], drawn[20:]))
        entry = {
            "requestId": request, "deviceId": os.urandom(32).hex(),
            "publicKey": os.urandom(32).hex(), "displayName": "demo phone", "platform": "android",
            "clientId": "demo-app", "clientMode": "ui", "role": "operator", "roles": ["operator"],
            "scopes": ["operator.read", "operator.write"], "ts": time.time_ns() // 1_000_000,
        }  # fmt: skip
        with _locked(self._devices):
            _write(self._devices / "pending.json", {**self.devices(), request: entry})
        say("error", f"device pairing required (requestId: {request})")
        return request

    def requests(self, channel: str) -> list[dict[str, Any]]:
        """Return the pending requests of a channel."""
        return self._waiting(channel)

    def devices(self) -> dict[str, Any]:
        """Return the pending devices by request id."""
        pending: dict[str, Any] = _read(self._devices / "pending.json", {})
        oldest = time.time_ns() // 1_000_000 - _DEVICE_TTL_S * 1_000
        return {key: entry for key, entry in pending.items() if entry["ts"] >= oldest}

    def approve(self, channel: str, code: str) -> str | None:
        """Return the id approved by this code, None if no request has it."""
        with _locked(self._credentials):
            waiting = self._waiting(channel)
            mine = next((row for row in waiting if row["code"] == code.upper()), None)
            if mine is None:
                return None
            sender = str(mine["id"])
            allowed = {"version": 1, "allowFrom": [*self._allowed(channel), sender]}
            _write(self._credentials / f"{channel}-default-allowFrom.json", allowed)
            self._keep(channel, [row for row in waiting if row is not mine])
        return sender

    def approve_device(self, request: str) -> bool:
        """Approve a device; return False if there is no such request."""
        with _locked(self._devices):
            pending = self.devices()
            entry = pending.pop(request, None)
            if entry is None:
                return False
            paired: dict[str, Any] = _read(self._devices / "paired.json", {})
            _write(self._devices / "paired.json", {**paired, entry["deviceId"]: entry})
            _write(self._devices / "pending.json", pending)
        return True

    def _waiting(self, channel: str) -> list[dict[str, Any]]:
        kept = _read(self._credentials / f"{channel}-pairing.json", {"requests": []})
        oldest = _stamp(-_CHANNEL_TTL_S)
        return [row for row in kept["requests"] if row["createdAt"] >= oldest]

    def _allowed(self, channel: str) -> list[str]:
        kept = _read(self._credentials / f"{channel}-default-allowFrom.json", {"allowFrom": []})
        return list(kept["allowFrom"])

    def _keep(self, channel: str, waiting: list[dict[str, Any]]) -> None:
        content = {"version": 1, "requests": waiting}
        _write(self._credentials / f"{channel}-pairing.json", content)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock against concurrent writes by the gateway and its command line."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise


def _write(path: Path, content: object) -> None:
    fresh = path.with_name(f"{path.name}.{os.urandom(4).hex()}.tmp")
    fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(path)


def _draw_code() -> str:
    return "".join(_CODE_LETTERS[byte % len(_CODE_LETTERS)] for byte in os.urandom(8))


def _stamp(from_now_s: int = 0) -> str:
    """Return a time with milliseconds, in OpenClaw's format."""
    at_ms = time.time_ns() // 1_000_000 + from_now_s * 1_000
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms // 1_000)) + f".{at_ms % 1_000:03d}Z"
    )


def decide(arguments: list[str], lobby: Lobby) -> int:
    """Run `pairing` or `devices`; return the exit code."""
    words = [word for word in arguments if not word.startswith("--")]
    match words:
        case ["pairing", "list", channel]:
            shown: dict[str, object] = {"channel": channel, "requests": lobby.requests(channel)}
            sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        case ["pairing", "approve", channel, code]:
            sender = lobby.approve(channel, code)
            if sender is None:
                sys.stderr.write(f"No pending pairing request found for code {code}\n")
                return 1
            sys.stdout.write(f"Approved {channel} sender {sender}.\n")
        case ["devices", "list"]:
            shown = {"pending": list(lobby.devices().values())}
            sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        case ["devices", "approve", request]:
            if not lobby.approve_device(request):
                sys.stderr.write(f"No pending device request matches {request}.\n")
                return 1
            sys.stdout.write(f"Approved {request}\n")
        case _:
            sys.stderr.write("want pairing|devices list|approve\n")
            return 1
    return 0


class Transcript:
    """A simulated conversation, as JSON lines in OpenClaw's transcript format version 3."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._turns = 0
        self._path = self._begin()

    def turn(self) -> None:
        """Write one question and one answer; start a new file when this one is full."""
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
    """Print a line as an agent does: information to stdout, the rest to stderr."""
    out = sys.stdout if level == "info" else sys.stderr
    print(f"{_now()} [demo] {text}", file=out, flush=True)


def main(arguments: list[str]) -> int:
    """Run the agent until it is stopped; return its exit code."""
    state = Path(os.environ.get("DEMO_STATE_DIR", "."))
    if "--version" in arguments:
        sys.stdout.write(f"Demo {VERSION} ({COMMIT})\n")
        return 0
    try:
        config = read_config(state / CONFIG_FILE)
    except (ValueError, RecursionError) as error:
        say("error", f"configuration is broken: {error}")
        if "doctor" not in arguments:
            return EX_CONFIG
        config = {}
    if arguments[:1] == ["agent"]:
        code: int = work().ask(arguments[1:], os.environ.get("DEMO_TOKEN", ""))
        return code
    if arguments[:1] in (["pairing"], ["devices"]):
        time.sleep(float(config.get("commandS", 0)))
        return decide(arguments, Lobby(state))
    if "doctor" in arguments:
        return repair(state, config)
    if (state / "broken").exists():
        say("error", f"configuration is broken: {state / 'broken'}")
        return EX_CONFIG
    demo = Demo(read_options(arguments, state, config))
    serve(demo)
    return 0


def work() -> Any:
    """Return the module beside this file about work: a program run by path has no package."""
    from importlib.util import module_from_spec, spec_from_file_location  # noqa: PLC0415  as hmac

    spec = spec_from_file_location("demo_work", Path(__file__).with_name("demo_work.py"))
    assert spec is not None, "it is a Python file"
    assert spec.loader is not None, "it is a Python file"
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration, empty if there is no file; raise ValueError if it is invalid."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not _CONFIG_KEYS.issuperset(found):
        message = f"{path.name}: want an object of {', '.join(sorted(_CONFIG_KEYS))}"
        raise ValueError(message)
    return found


def repair(state: Path, config: dict[str, Any]) -> int:
    """Remove what breaks the configuration, unless it is marked as not repairable."""
    if config.get("doctorStubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ends_s = time.monotonic() + float(config.get("doctorS", 0))
    while time.monotonic() < ends_s:
        say("info", "doctor is looking")
        time.sleep(_DOCTOR_LINE_S)
    broken = state / "broken"
    if broken.exists() and "hopeless" not in broken.read_text():
        broken.unlink()
    say("info", "doctor has looked")
    return 0


def read_options(arguments: list[str], state: Path, config: dict[str, Any]) -> Options:
    """Return the options; raise ValueError for a name without a value or a bad number.

    The command line takes precedence over the configuration.
    """
    given: dict[str, Any] = dict(zip(arguments[::2], arguments[1::2], strict=True))
    return Options(
        port=int(given.pop("--port", "3001")),
        beat_s=float(given.pop("--beat-s", config.get("beatS", 5))),
        start_ms=int(given.pop("--start-ms", config.get("startMs", 0))),
        fault=given.pop("--fault", config.get("fault", "")),
        stranger_s=float(given.pop("--stranger-s", "0")),
        state=state,
        token=os.environ.get("DEMO_TOKEN", ""),
    )


def serve(demo: Demo) -> None:
    """Answer, write and print until SIGTERM or SIGINT; the fault `hang` ignores both."""
    say("info", "starting")
    ends = queue.SimpleQueue[int]()  # its put takes no lock, so a handler may call it

    def end(number: int, _frame: object) -> None:
        if not demo.hanging.is_set():
            ends.put(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server = Server(demo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say("info", f"listening on 127.0.0.1:{server.server_address[1]}")
    transcript = Transcript(demo.options.state / "agents" / "main" / "sessions")
    fault, _, after = demo.options.fault.partition(":")
    if fault:
        threading.Timer(float(after or 0), demo.break_down, [fault]).start()
    if demo.options.stranger_s:
        words = (CHANNEL, "ada", "hello")
        threading.Timer(demo.options.stranger_s, demo.lobby.hear, words).start()
    while True:
        with suppress(queue.Empty):
            ends.get(timeout=demo.options.beat_s)
            break
        if not demo.hanging.is_set():
            transcript.turn()
            say("info", "wrote a turn")
    say("info", "stopping")
    sys.stdout.flush()
    os._exit(0)  # at once, without waiting for the request threads


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
