"""What is printed of an exception: types and places, never its text."""

from __future__ import annotations

import errno
import re
import ssl
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.kernel.failure import (
    CHAIN_MAX,
    FRAMES_MAX,
    OperationError,
    brief,
    fixed,
    install,
    outline,
    place,
    reason,
)


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


def tls(verify_code: int | None, why: str | None) -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "secret.example")
    error.reason = why  # type: ignore[assignment]  # it is None for some failures
    error.verify_code = verify_code  # type: ignore[assignment]  # as reason
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (tls(10, "CERTIFICATE_VERIFY_FAILED"), "TLS: certificate verify failed (X.509 code 10)"),
        (tls(0, "WRONG_VERSION_NUMBER"), "TLS: wrong version number"),
        (tls(None, None), "TLS: failed"),
        (TimeoutError("secret"), "timed out"),
        (OSError(errno.ENOENT, "No such file or directory"), "No such file or directory"),
        (OSError("secret"), "OSError"),
        (OSError(errno.EIO, ""), "OSError"),
        (OperationError("another process writes it too"), "another process writes it too"),
        (ValueError("secret"), "ValueError"),
    ],
    ids=range(9),
)
def test_the_reason_is_a_fixed_text(error: BaseException, said: str) -> None:
    assert reason(error) == said


def test_without_tls_in_the_process_the_reason_is_the_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "ssl")
    assert reason(OSError(errno.EPIPE, "Broken pipe")) == "Broken pipe"


def test_an_outline_has_types_places_and_causes_without_texts() -> None:
    error = raised(ValueError("secret"), raised(OSError(errno.EACCES, "secret")))
    lines = outline(error).splitlines()
    assert lines[0] == "ValueError"
    assert lines[1].startswith("  unit/kernel/test_failure.py:")
    assert lines[1].endswith(" in raised")
    assert lines[2] == f"after PermissionError [errno {errno.EACCES}]"
    assert "secret" not in outline(error)
    assert outline(ssl.SSLError()) == "ssl.SSLError"


def test_a_context_is_told_unless_it_was_suppressed() -> None:
    error = ValueError()
    error.__context__ = KeyError()
    assert outline(error) == "ValueError\nafter KeyError"
    error.__suppress_context__ = True
    assert outline(error) == "ValueError"


def test_a_long_chain_and_a_deep_stack_are_cut() -> None:
    chain: BaseException = ValueError()
    for _ in range(CHAIN_MAX):
        outer = ValueError()
        outer.__context__ = chain
        chain = outer
    assert outline(chain).count("ValueError") == CHAIN_MAX

    def deep(more: int) -> None:
        if not more:
            raise ValueError
        deep(more - 1)

    with pytest.raises(ValueError, match=r"^$") as caught:
        deep(FRAMES_MAX)
    places = outline(caught.value).splitlines()[1:]
    assert len(places) == FRAMES_MAX
    assert all(place.endswith(" in deep") for place in places)


@pytest.fixture
def written() -> Iterator[list[str]]:
    kept = sys.excepthook, sys.unraisablehook, threading.excepthook
    found: list[str] = []
    install(found.append, threading)
    yield found
    sys.excepthook, sys.unraisablehook, threading.excepthook = kept


def test_what_nobody_catches_is_written_as_an_outline(written: list[str]) -> None:
    sys.excepthook(ValueError, ValueError("secret"), None)
    sys.unraisablehook(cast("Any", SimpleNamespace(exc_value=KeyError("secret"))))
    threading.excepthook(cast("Any", SimpleNamespace(exc_value=OSError("secret"))))
    assert written == ["failed: ValueError\n", "failed: KeyError\n", "failed: OSError\n"]


def test_an_interrupt_and_an_absent_exception_are_not(written: list[str]) -> None:
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    threading.excepthook(SimpleNamespace(exc_value=None))  # type: ignore[arg-type]
    assert not written


def test_what_is_stored_names_no_place() -> None:
    caught = raised(ValueError("secret"))
    assert fixed(caught) == "ValueError"
    assert fixed(raised(OSError(errno.EPIPE, "secret"))).startswith("BrokenPipeError [errno ")
    assert re.fullmatch(r"unit/kernel/test_failure\.py:\d+ in raised", place(caught))
    assert brief(caught) == f"ValueError at {place(caught)}"
    assert place(ValueError()) == ""
