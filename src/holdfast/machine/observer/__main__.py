"""Starts the observer, previews, or enrols a browser: `python -m holdfast.machine.observer`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType

from holdfast import __version__
from holdfast.kernel.clock import DAY_MS, SystemClock
from holdfast.kernel.failure import install
from holdfast.kernel.log import TotalLog
from holdfast.machine.content_key import EnrolError
from holdfast.machine.controller.observing.protocol import UNCONFINED
from holdfast.machine.observer import preview
from holdfast.machine.observer.confinement import confine
from holdfast.machine.observer.enrolment import Enrolment
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.log import LineLog
from holdfast.machine.observer.registration import Registration
from holdfast.machine.observer.run import programs_of, run
from holdfast.machine.observer.settings import process_environment, read_settings
from holdfast.machine.observer.upload import Destination, Lines
from holdfast.wire.parsers import whole

_USAGE = (
    "usage: python -m holdfast.machine.observer [preview [--days N] | keys | enroll FINGERPRINT]\n"
)
_ENROLL = 2
"""Words of `enroll FINGERPRINT`."""
_FAILED = 1
_WRONG = 2
_NICE = 10
"""The agent comes first: a first sync of gigabytes takes minutes of a processor."""


def draw(size: int) -> bytes:
    """Return `size` random bytes."""
    return os.urandom(size)


def handle(handlers: Mapping[int, Callable[[int, FrameType | None], None]]) -> None:
    """Set handlers of signals."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def show_preview(arguments: list[str]) -> int:
    """Print what would be sent; nothing leaves the machine. Return the exit code."""
    days: int | None = None
    match arguments:
        case []:
            days = 0
        case ["--days", text]:
            days = whole(text)
        case _:
            pass
    if days is None:
        sys.stderr.write(_USAGE)
        return _WRONG
    clock = SystemClock()
    since_ms = clock.now_ms() - days * DAY_MS if days else 0
    settings = read_settings(process_environment())
    found = list(preview.previews(programs_of(settings, clock), since_ms=max(since_ms, 0)))
    sys.stdout.write(preview.rendered(found))
    sys.stdout.write("\nThis was printed on this machine. Nothing was sent.\n")
    return 0


def show_keys(arguments: list[str]) -> int:
    """Print the content key's id, or enrol a browser; return the exit code."""
    clock = SystemClock()
    settings = read_settings(process_environment())
    log = TotalLog(LineLog(clock))
    registration = Registration(settings.home, draw=draw, clock=clock, log=log)
    node = Gate(settings.folder, clock=clock, log=log).node
    if not registration.read() or registration.config is None or not node:
        told = registration.problem or "run the observer first; it registers"
        sys.stderr.write(f"This machine is not registered with a plane: {told}.\n")
        return _FAILED
    config = registration.config
    where = Destination(settings.url, registration.key(), config.node_id)
    lines = Lines(lambda: where, clock=clock, agent=f"holdfast-observer/{__version__}")
    enrolment = Enrolment(config, node, lines)
    try:
        if arguments:
            shown = enrolment.enroll(arguments[0])
            sys.stdout.write(f"The content key is sealed to the browser {shown}.\n")
        else:
            sys.stdout.write(f"content key  {enrolment.key_id}\n")
    except EnrolError as error:
        # It may quote the plane, whose words must not be obeyed by the terminal.
        sys.stderr.write(f"Nothing was enrolled: {preview.printable(str(error))}.\n")
        return _FAILED
    finally:
        lines.drop()
    return 0


def main(arguments: list[str]) -> int:
    """Run the observer until a signal ends it, or preview; return the exit code."""
    install(sys.stderr.write, threading)
    if arguments[:1] == ["preview"]:
        return show_preview(arguments[1:])
    if arguments == ["keys"] or (len(arguments) == _ENROLL and arguments[0] == "enroll"):
        return show_keys(arguments[1:])
    if arguments:
        sys.stderr.write(_USAGE)
        return _WRONG
    os.nice(_NICE)
    clock = SystemClock()
    settings = read_settings(process_environment())
    lines = LineLog(clock)
    log = TotalLog(lines)
    problem = confine(settings) if settings.within else ""
    if problem:
        log.error("observer.unconfined", reason=problem)
        return UNCONFINED
    return run(
        settings, clock=clock, log=log, draw=draw, version=__version__, on_signal=handle,
        tell=lines.tell if settings.within else None,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
