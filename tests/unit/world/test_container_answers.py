from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.outcome import Conflict, Permanent, Retryable
from holdfast.world.clouds.docker.answers import (
    SUBNET_TAKEN,
    State,
    Subject,
    classify,
    exit_code_of,
    moment_ms,
    state_of,
)
from holdfast.world.clouds.port import (
    CAPACITY,
    CONFLICT,
    DENIED,
    INVALID,
    MISSING_VOLUME,
    NAME_TAKEN,
    NOT_FOUND,
    TRANSIENT,
)

HOLDER = "0775a2de8c60a32b4824733ea67ac9bf185dd67258162ade6b867c68681a1a3b"
PODMAN_TAKEN = (
    f'container create: creating container storage: the container name "box" is already in use by'
    f" {HOLDER}. You have to remove that container to be able to reuse that name: that name is"
    " already in use"
)
DOCKER_TAKEN = (
    f'Conflict. The container name "/box" is already in use by container "{HOLDER}". You have to'
    " remove (or rename) that container to be able to reuse that name."
)


@pytest.mark.parametrize(("status", "text"), [(500, PODMAN_TAKEN), (409, DOCKER_TAKEN)])
def test_a_taken_name_is_told_by_its_text(status: int, text: str) -> None:
    assert classify(status, text, subject="machine") == Conflict(
        NAME_TAKEN, f"{status}: {text}", HOLDER
    )


@pytest.mark.parametrize(
    ("status", "text", "subject", "kind", "code"),
    [
        (404, 'no container with name or ID "x" found: no such container', "machine",
         Permanent, NOT_FOUND),
        (404, "No such container: x", "machine", Permanent, NOT_FOUND),
        (404, "volume with name x not found: no such volume", "machine",
         Permanent, MISSING_VOLUME),
        (404, "get x: no such volume", "volume", Permanent, NOT_FOUND),
        (404, "network not found", "network", Permanent, NOT_FOUND),
        (404, "<html>404 Not Found</html>", "machine", Retryable, TRANSIENT),
        (404, "page not found", "machine", Retryable, TRANSIENT),
        (404, "no such image: x: image not known", "machine", Permanent, INVALID),
        (409, "volume x is being used by the following container(s)", "volume",
         Conflict, CONFLICT),
        (500, "can only kill running containers. x is in state exited: container state improper",
         "machine", Conflict, CONFLICT),
        (500, "subnet 10.213.0.0/29 is already used on the host or by another config", "network",
         Conflict, SUBNET_TAKEN),
        (403, "Pool overlaps with other one on this address space", "network",
         Conflict, SUBNET_TAKEN),
        (500, "write /x: no space left on device", "machine", Retryable, CAPACITY),
        (403, "forbidden", "machine", Permanent, DENIED),
        (400, "bad parameter", "machine", Permanent, INVALID),
        (500, "boom", "machine", Retryable, TRANSIENT),
        (900, "Cannot connect to Docker Engine", "machine", Retryable, TRANSIENT),
    ],
)  # fmt: skip
def test_a_refusal_is_classified(
    status: int, text: str, subject: Subject, kind: type, code: str
) -> None:
    failure = classify(status, text, subject=subject)
    assert isinstance(failure, kind)
    assert failure.code == code


@given(st.integers(100, 999), st.text())
def test_nothing_but_a_404_says_that_something_is_not_there(status: int, text: str) -> None:
    failure = classify(status, text, subject="machine")
    assert failure.code not in {NOT_FOUND, MISSING_VOLUME} or status == 404


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01T00:58:21.996150201Z", 1_796_086_701_996),
        ("2026-12-01T00:58:21Z", 1_796_086_701_000),
        ("2026-12-01T01:58:21.5+01:00", 1_796_086_701_500),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("yesterday", 0),
    ],
)
def test_times_of_engines(text: str, expected: int) -> None:
    assert moment_ms(text) == expected


def test_states_and_exit_codes() -> None:
    assert [state_of(word) for word in ("created", "running", "exited", "unheard of")] == [
        "created", "started", "stopped", "failed",
    ]  # fmt: skip
    assert exit_code_of(State(status="running", exit_code=0)) is None
    assert exit_code_of(State(status="exited", exit_code=7)) == 7
    assert exit_code_of(State(status="exited", exit_code=137)) == -9
