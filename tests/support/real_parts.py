"""Real programs that tests run: loudly skipped where one is missing, an error where CI=true."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NoReturn

import pytest

from tools.real_parts import find_prometheus


def not_run(what: str, missing: str) -> NoReturn:
    """Skip a test for want of a real part, saying what nobody has seen; fail where CI=true."""
    text = f"NOT RUN, {missing} is missing: {what}; make test fetches it (tools/real_parts.py)"
    if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
        pytest.fail(text)
    pytest.skip(text)


def want_package(name: str, what: str) -> None:
    """Skip, or fail, where a package is not installed."""
    if importlib.util.find_spec(name) is None:
        not_run(what, f"the package {name}")


def prometheus(what: str) -> Path:
    """Return the folder of Prometheus' programs; skip, or fail, where they are not here."""
    found = find_prometheus()
    if found is None:
        not_run(what, "Prometheus")
    return found
