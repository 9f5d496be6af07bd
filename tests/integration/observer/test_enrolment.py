"""`observer keys` and `enroll`, and samples at the socket; also with a plane that lies."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.log import NoLog
from holdfast.kernel.secret import Secret
from holdfast.machine.content_key import id_of_key, key_of
from holdfast.machine.observer.__main__ import main
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.settings import read_settings
from holdfast.machine.observer.upload import Destination, Samples, Uploader
from holdfast.wire.browser_keys import CONTENT_KEY, fingerprint_of, id_of
from holdfast.wire.consent import PREVIEW_MS, Preview
from tests.integration.observer.conftest import KEY, Home
from tests.support.browser_seal import new_pair, open_from, point_of, text_of
from tests.support.consent_signer import NODE, Signer, answer, to_json
from tests.support.recording_plane import RecordingPlane, register_home

BROWSERS = "/api/observer/browser-keys"
COPIES = "/api/observer/sealed-keys"


@pytest.fixture
def machine(home: Home, plane: RecordingPlane, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A machine that registered and pinned its plane."""
    register_home(home.path, KEY)
    monkeypatch.setenv("HOME", str(home.path))
    monkeypatch.setenv("HOLDFAST_PLANE_URL", plane.url)
    folder = read_settings({"HOME": str(home.path)}).folder
    folder.mkdir(parents=True)
    assert Gate(folder, clock=SystemClock(), log=NoLog()).pin(NODE, Signer().public) == ""
    return home


def knows(key: str = "") -> Callable[[str], tuple[int, bytes] | None]:
    """Return what a plane answers that says this public key of every id, or knows none."""
    told = json.dumps({"ok": True, "node": NODE, "public_key": key}).encode()
    said = (200, told) if key else (404, b'{"code":"no_such_browser"}')
    return {BROWSERS: said, COPIES: (200, b'{"ok":true}')}.get


def _says(body: bytes, _path: str) -> tuple[int, bytes]:
    return 200, body


def _refuses(body: bytes, _path: str) -> tuple[int, bytes]:
    return 403, body


def copies(plane: RecordingPlane) -> list[dict[str, Any]]:
    return [one.body for one in plane.requests if one.path == f"fault:{COPIES}"]


def test_the_browser_of_the_typed_fingerprint_gets_the_key(
    machine: Home, plane: RecordingPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = new_pair()
    shown = fingerprint_of(point_of(pair))
    plane.fault = knows(text_of(point_of(pair)))
    assert main(["keys"]) == 0
    assert capsys.readouterr().out == f"content key  {id_of_key(key_of(KEY))}\n"
    assert plane.requests == [], "its own key's id is asked of nobody"
    assert main(["enroll", shown.lower().replace("-", " ")]) == 0
    assert f"&browser={id_of(shown)} ".encode() in b"".join(plane.wire), "asked for by its id"
    (copy,) = copies(plane)
    assert copy["browser"] == id_of(shown)
    assert open_from(pair, CONTENT_KEY, NODE, copy["sealed"]) == key_of(KEY)


def test_a_plane_that_exchanges_a_key_gets_nothing(
    machine: Home, plane: RecordingPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = fingerprint_of(point_of(new_pair()))
    plane.fault = knows(text_of(point_of(new_pair())))
    assert main(["enroll", wanted]) == 1
    assert "nothing was sealed to it" in capsys.readouterr().err
    plane.fault = knows()
    assert main(["enroll", wanted]) == 1
    assert "no browser with the fingerprint" in capsys.readouterr().err
    no_point = b'{"ok":true,"node":"n","public_key":"AA"}'
    for body in (b"", b"[]", b'{"ok":true}', no_point):
        plane.fault = functools.partial(_says, body)
        assert main(["enroll", wanted]) == 1
        assert "no key of a browser" in capsys.readouterr().err
    plane.fault = lambda _path: (403, b'{"message":"the agent can read this key"}')
    assert main(["enroll", wanted]) == 1
    assert "the agent can read this key" in capsys.readouterr().err
    assert main(["enroll", "ABCD"]) == 1
    assert "five groups" in capsys.readouterr().err
    assert copies(plane) == []


def test_a_terminal_obeys_nothing_that_a_plane_says(
    machine: Home, plane: RecordingPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.dumps({"message": "x\x1b[1A\x1b[2K\r\x9b1Acontent key  0000"}).encode()
    plane.fault = functools.partial(_refuses, told)
    assert main(["enroll", fingerprint_of(point_of(new_pair()))]) == 1
    said = capsys.readouterr().err
    assert "content key  0000" in said
    assert said.removesuffix("\n").isprintable()


def test_without_a_registration_it_says_so(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(home.path))
    assert main(["keys"]) == 1
    assert "not registered" in capsys.readouterr().err
    assert main(["enroll"]) == 2


def test_samples_leave_by_a_preview_alone(machine: Home, plane: RecordingPlane) -> None:
    settings = read_settings({"HOME": str(machine.path), "HOLDFAST_PLANE_URL": plane.url})
    gate = Gate(settings.folder, clock=SystemClock(), log=NoLog())
    uploader = Uploader(
        settings.folder,
        gate_of_node=gate,
        destination=lambda: Destination(plane.url, Secret("cm_1"), "host"),
        clock=SystemClock(),
        log=NoLog(),
        agent="test",
    )
    try:
        samples = Samples(number=1, sealed="c2VhbGVk")
        assert uploader.send_samples(samples).status == -1
        assert plane.requests == []
        at_ms = SystemClock().now_ms()
        asked = Preview(
            version=1, node=NODE, number=1, public_key="B" * 87, at_ms=at_ms,
            until_ms=at_ms + PREVIEW_MS,
        )  # fmt: skip
        gate.heard(200, answer(preview=to_json(Signer().sign(asked))))
        plane.fault = lambda _path: (200, b'{"ok":true}')
        assert uploader.send_samples(samples).status == 200
        assert uploader.send_samples(samples).status == -1, "once"
        assert [one.path for one in plane.requests] == ["fault:/api/observer/samples"]
    finally:
        uploader.close()
