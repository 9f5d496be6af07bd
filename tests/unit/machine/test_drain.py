"""How each release of OpenClaw is drained, and the meaning of its log lines."""

from __future__ import annotations

import signal

import pytest

from holdfast.machine.agents.drain import BY_RESTART, BY_SIGTERM, openclaw_drain


@pytest.mark.parametrize(
    ("version", "way"),
    [
        ("2026.3.13", BY_RESTART),
        ("2026.7.35", BY_RESTART),
        ("2026.8.1", BY_SIGTERM),
        ("2026.10.2", BY_SIGTERM),
        ("2027.1.1", BY_SIGTERM),
        (None, BY_SIGTERM),
    ],
)
def test_the_release_decides_the_signal(version: str | None, way: object) -> None:
    assert openclaw_drain(version) is way


def test_only_sigterm_ends_it_too() -> None:
    assert BY_SIGTERM.ends_too
    assert not BY_RESTART.ends_too
    assert BY_RESTART.signal == signal.SIGUSR1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[gateway] active-work drain settled; beginning server close", (False,)),
        ("[gateway] gateway active-work drain timeout reached; proceeding with shutdown", (True,)),
        ("[gateway] draining active work before stop with timeout 315000ms", None),
    ],
)
def test_new_releases_say(line: str, said: object) -> None:
    assert BY_SIGTERM.read_line(line) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[gateway] all active work drained", (False,)),
        ("[gateway] restart mode: in-process restart (OPENCLAW_NO_RESPAWN)", (False,)),
        ("[gateway] drain timeout reached; proceeding with restart", (True,)),
        ("[gateway] SIGUSR1 restart ignored (not authorized; commands.restart=false)", (None,)),
        ("[gateway] signal SIGUSR1 received", None),
    ],
)
def test_old_releases_say(line: str, said: object) -> None:
    assert BY_RESTART.read_line(line) == said
