"""Programs that use a brain in processes of their own, and planes that misbehave."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.outbox.intake import HttpIntake, Programs

PROGRAM = """
import os, signal, sys, time
from holdfast.sdk import Brain
folder, url = sys.argv[1:3]
def brain(**more):
    return Brain(folder, **{"url": url, "api_key": "k", "notice": lambda text: None, **more})
def say(*words):
    print(*words, flush=True)
"""


def start(programs: Programs, body: str, *arguments: object, **environment: str) -> Any:
    return programs.start(PROGRAM + body, *arguments, **environment)


def delivered(plane: HttpIntake) -> list[str]:
    """Every event id in the order it came, repeats and all."""
    return [row["event_id"] for _, body in plane.requests for row in body["rows"]]


def texts(plane: HttpIntake) -> list[str]:
    return [row["payload"]["draft"] for row in plane.stored.values() if row["kind"] == "correction"]


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
