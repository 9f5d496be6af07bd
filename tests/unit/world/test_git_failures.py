"""What git's words mean, names that reach git, and addresses of rigs."""

from __future__ import annotations

import pytest

from holdfast.kernel.outcome import Permanent, Retryable
from holdfast.world.forges import port
from holdfast.world.forges.git_command import failure_of
from holdfast.world.forges.names import Remote, is_branch, remote_of
from holdfast.world.forges.port import Repository
from holdfast.world.forges.process import Ended


@pytest.mark.parametrize(
    ("said", "code", "lasts"),
    [
        ("! [rejected] x -> main (stale info)", port.MOVED, True),
        ("! [rejected] x -> main (fetch first)", port.MOVED, True),
        ("remote: error: cannot lock ref 'refs/heads/main': is at 1 but expected 2", port.MOVED,
         True),
        ("remote: error: cannot lock ref 'x': Unable to create 'x.lock': File exists.",
         port.RIG_LOCKED, False),
        ("! [remote rejected] x (branch is currently checked out)", port.CHECKED_OUT, True),
        ("! [remote rejected] x (pre-receive hook declined)", port.FORBIDDEN, True),
        ("fatal: Authentication failed for 'https://host/x/'", port.FORBIDDEN, True),
        ("fatal: could not read Username for 'https://host': terminal prompts disabled",
         port.FORBIDDEN, True),
        ("fatal: repository 'https://host/x/' not found", port.RIG_GONE, True),
        ("fatal: '/x' does not appear to be a git repository", port.RIG_GONE, True),
        ("holdfast: cannot be confined: no", port.UNCONFINED, True),
        ("fatal: unable to access 'https://host/': Could not resolve host: host",
         port.UNREACHABLE, False),
        ("error: unable to write file x: No space left on device", port.UNREACHABLE, False),
        ("remote: this repository was not found to be nice\nfatal: the remote end hung up",
         port.UNREACHABLE, False),
        ("", port.UNREACHABLE, False),
    ],
)  # fmt: skip
def test_what_a_failure_means(said: str, code: str, *, lasts: bool) -> None:
    failure = failure_of(Ended(1, b"", said.encode()))
    assert (failure.code, isinstance(failure, Permanent)) == (code, lasts)
    assert failure.message.isprintable()


def test_what_took_too_long_may_work_later() -> None:
    failure = failure_of(Ended(-9, b"", b"fatal: not found", late=True))
    assert isinstance(failure, Retryable)


@pytest.mark.parametrize("name", ["main", "bead/b-1/2", "convoy/x/0f/head", "a+b_c.d", "_x", "0"])
def test_branches(name: str) -> None:
    assert is_branch(name)


@pytest.mark.parametrize(
    "name",
    ["", "/", "a/", "/a", "a//b", "-a", "a/-b", ".a", "a/.b", "a..b", "a.lock", "a.lock/b", "a.",
     "a b", "a\tb", "a\n", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "@", "a@{1}", "HEAD",
     "ä", "x" * 201],
)  # fmt: skip
def test_what_are_no_branches(name: str) -> None:
    assert not is_branch(name)


@pytest.mark.parametrize(
    ("url", "protocol"),
    [("/srv/rig.git", "file"), ("https://host/a/b", "https"), ("http://127.0.0.1:8080/a", "http")],
)
def test_addresses(url: str, protocol: str) -> None:
    found = remote_of(Repository(key="k", url=url))
    assert isinstance(found, Remote)
    assert found == (protocol, url)
