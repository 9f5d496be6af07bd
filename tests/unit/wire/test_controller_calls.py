"""What a controller's answers mean to the plane."""

from __future__ import annotations

import pytest
from msgspec import Struct

from holdfast.wire.controller.calls import (
    ControllerError,
    Trouble,
    refusal_of,
    understand,
)
from holdfast.wire.controller.machine import ControllerVersion


class Thing(Struct):
    count: int


def failed(status: int, body: bytes) -> ControllerError:
    with pytest.raises(ControllerError) as caught:
        understand(status, body, Thing)
    return caught.value


def test_an_answer_is_read_with_its_type() -> None:
    assert understand(200, b'{"count": 3, "more": 1}', Thing) == Thing(3)
    assert understand(204, b"", ControllerVersion) == ControllerVersion()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"count": "three"}', b"<html>", b"\xff"])
def test_one_that_breaks_its_type_is_no_empty_one(body: bytes) -> None:
    error = failed(200, body)
    assert (error.trouble, refusal_of(error).status) == ("broken", 502)


@pytest.mark.parametrize(
    ("status", "body", "trouble"),
    [
        (404, b"Not Found", "too_old"),
        (404, b'{"error": "Not Found"}', "too_old"),
        (404, b'{"error": "x", "code": "controller_route_unavailable"}', "too_old"),
        (401, b'{"error": "Unauthorized", "code": "controller_route_unavailable"}', "too_old"),
        (404, b'{"error": "x", "code": "file_not_found"}', "refused"),
        (401, b'{"error": "Unauthorized"}', "unauthorised"),
        (403, b"", "unauthorised"),
        (429, b'{"error": "x", "code": "too_many_wrong_proofs"}', "unauthorised"),
        (429, b'{"error": "x", "code": "busy"}', "refused"),
        (500, b'{"error": "boom", "code": "config_read_failed"}', "refused"),
        (302, b"", "refused"),
    ],
)
def test_age_is_told_from_refusal(status: int, body: bytes, trouble: Trouble) -> None:
    assert failed(status, body).trouble == trouble


@pytest.mark.parametrize(
    ("status", "code", "plane"),
    [(400, "invalid_path", 400), (409, "config_etag_conflict", 409), (422, "x", 422),
     (500, "x", 502), (503, "gateway_not_running", 503)],
)  # fmt: skip
def test_a_refusal_of_the_controller_keeps_its_code(status: int, code: str, plane: int) -> None:
    error = failed(status, f'{{"error": "No.", "code": "{code}", "field": "path"}}'.encode())
    refusal = refusal_of(error)
    assert (refusal.status, refusal.problem.code, refusal.problem.message) == (plane, code, "No.")


@pytest.mark.parametrize(
    ("trouble", "status"),
    [("not_running", 503), ("unreachable", 503), ("timeout", 504), ("too_old", 409),
     ("unauthorised", 502)],
)  # fmt: skip
def test_each_trouble_has_an_answer_that_says_what_to_do(trouble: Trouble, status: int) -> None:
    refusal = refusal_of(ControllerError(trouble, "why"))
    assert refusal.status == status
    assert refusal.problem.fix


def test_names_of_capabilities_have_a_form() -> None:
    good = b'{"capabilities": ["config.read", "files.write-openclaw-config"]}'
    assert understand(200, good, ControllerVersion).capabilities[0] == "config.read"
    with pytest.raises(ControllerError):
        understand(200, b'{"capabilities": ["Config Read"]}', ControllerVersion)
