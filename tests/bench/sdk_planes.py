"""Planes for bench_sdk: one that takes everything, and those that do not; and what slows a disk."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static __thread long syncs;
static void slow(void) {
    const char *text = getenv("BENCH_SYNC_US");
    syncs++;
    if (text && atoi(text) > 0) usleep(atoi(text));
}
long bench_syncs(void) { return syncs; }
int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    slow();
    return real(fd);
}
int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    slow();
    return real(fd);
}
"""


def build_shim(folder: Path) -> Path:
    """Compile a library that counts the syncs of each thread, and slows them if requested."""
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM, encoding="utf-8")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True
    )
    return library


class Plane:
    """Takes every row after `wait_s`; over TLS where it is given a certificate."""

    def __init__(self, *, wait_s: float = 0.0, certificate: Path | None = None) -> None:
        ended = self._ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                ended.wait(wait_s)
                if self.path.endswith("/verdicts"):
                    said: dict[str, object] = {"brain": "b", "revision": 0, "upto": 0, "items": []}
                else:
                    rows = len(json.loads(raw)["rows"])
                    said = {"accepted": rows, "deduplicated": 0, "refused": [], "verdicts": 0}
                body = json.dumps(said).encode()
                with suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A program that is measured ends without a farewell."""

        self._server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer what is under way, and end."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def plane(wait_s: float = 0.0) -> Iterator[str]:
    """Run a plane and give its address."""
    running = Plane(wait_s=wait_s)
    yield running.url
    running.close()


@contextmanager
def black_hole() -> Iterator[str]:
    """Yield an address that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(200)
        yield f"http://localhost:{listener.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """Yield an address without a listener."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://localhost:{unused.getsockname()[1]}"


def certificate(folder: Path) -> Path:
    """Make a certificate for this machine's own name, with its key in the same file."""
    file = folder / "plane.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    both = (folder / "key.pem").read_text() + (folder / "cert.pem").read_text()
    file.write_text(both, encoding="ascii")
    return file
