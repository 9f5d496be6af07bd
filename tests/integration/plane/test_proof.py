"""A program that took the plane's port is not sent the token of the command line."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from holdfast.plane.plane_key import PlaneKey, read_or_make_plane_key, read_plane_key
from tests.support.planes import PlaneProcess, plane_at
from tests.support.ports import free_port


class FakePlane(ThreadingHTTPServer):
    """Answers as a plane would, keeps what it was sent, and may ask a real one for its proof."""

    def __init__(self, port: int, real: str = "") -> None:
        self.seen: list[str] = []
        self.real = real
        super().__init__(("127.0.0.1", port), _Answers)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        fake = self.server
        assert isinstance(fake, FakePlane)
        fake.seen.append(f"{self.requestline}\n{self.headers}")
        body = b'{"proof":"' + b"0" * 64 + b'"}'
        if "/api/proof" in self.path and fake.real:
            with urllib.request.urlopen(fake.real + self.path) as answer:
                body = answer.read()
        elif "/api/proof" not in self.path:
            body = b'{"items":[],"next":""}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its base's names
        """Say nothing."""


@contextmanager
def faking(port: int, real: str = "") -> Iterator[FakePlane]:
    with FakePlane(port, real) as fake:
        thread = threading.Thread(target=fake.serve_forever, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.shutdown()
            thread.join()


@pytest.fixture
def stopped(tmp_path: Path) -> PlaneProcess:
    """Make a plane that ran, so that there are a key and a token, and stopped."""
    with plane_at(tmp_path / "home") as plane:
        plane.cli("instance", "list")
        assert plane.terminate() == 0
        assert (plane.keys / "cli.token").read_text().startswith("hf_")
        return plane


def test_a_fake_plane_on_the_same_port_gets_no_token(stopped: PlaneProcess) -> None:
    token = (stopped.keys / "cli.token").read_text().strip()
    with faking(stopped.port) as fake:
        for words in (("instance", "list"), ("link",), ("token", "list")):
            for given in ({}, {"HOLDFAST_TOKEN": token}):
                refused = stopped.cli(*words, code=3, **given)
                assert "did not prove" in refused.stderr
        assert fake.seen, "it was asked"
        assert not [text for text in fake.seen if "/api/proof" not in text.partition("\n")[0]]
        assert not [text for text in fake.seen if token in text or "authorization" in text.lower()]


def test_a_fake_plane_that_passes_the_challenge_on_gets_no_token(stopped: PlaneProcess) -> None:
    taken, stopped.port = stopped.port, free_port()
    stopped.environment["HOLDFAST_PORT"] = str(stopped.port)
    stopped.start()
    try:
        stopped.cli("instance", "list")
        with faking(taken, stopped.url) as fake:
            refused = stopped.cli(
                "instance", "list", code=3, HOLDFAST_URL=f"http://127.0.0.1:{taken}"
            )
            assert "did not prove" in refused.stderr
            assert len(fake.seen) == 1
            stopped.cli(
                "instance", "list", HOLDFAST_URL=f"http://127.0.0.1:{taken}",
                HOLDFAST_ACCEPT_PLAIN_HTTP="true",
            )  # fmt: skip
            assert len(fake.seen) == 2, "who accepts the risk, as for a tunnel, takes it"
    finally:
        stopped.close()


def test_a_proof_is_for_one_challenge_at_one_address(tmp_path: Path) -> None:
    key, other = read_or_make_plane_key(tmp_path), PlaneKey(bytes(32))
    proof = key.proof("ab" * 16, "127.0.0.1", 8700)
    assert read_or_make_plane_key(tmp_path).proves(proof, "ab" * 16, "127.0.0.1", 8700)
    assert key.proves(proof, "ab" * 16, "::ffff:127.0.0.1", 8700), "one socket for both versions"
    for wrong in (
        ("cd" * 16, "127.0.0.1", 8700),
        ("ab" * 16, "::1", 8700),
        ("ab" * 16, "127.0.0.1", 1),
    ):
        assert not key.proves(proof, *wrong)
    assert not other.proves(proof, "ab" * 16, "127.0.0.1", 8700)
    assert not key.proves("", "ab" * 16, "127.0.0.1", 8700)
    assert not key.proves("\udcff", "ab" * 16, "127.0.0.1", 8700)
    assert read_plane_key(tmp_path / "none") is None
