"""Attempts of a hostile rig, gate and pull request at the forge's token; none may succeed."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TypeVar

from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.world.forges import port
from holdfast.world.forges.github import GitHubPulls
from holdfast.world.forges.port import Gate, Landing, Repository, Trial
from tests.support.confinement import need
from tests.support.fake_github import TOKEN, FakeGitHub
from tests.support.rigs import commit_to, git, real_repositories

T = TypeVar("T")


def good(outcome: Outcome[T]) -> T:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


async def test_it_is_nowhere_but_on_its_way(tmp_path: Path) -> None:
    need("auto")
    forge = real_repositories(tmp_path / "forge")
    server = FakeGitHub()
    look = Gate(name="look", command=("sh", "-c", "env; cat .git/config; git remote -v"))
    async with server.serving():
        rig = server.add("acme/rig", tmp_path / "served.git")
        commit_to(rig.folder, "main", {"a": "one"})
        repository = Repository(key="t-h", url=f"{server.base}/acme/rig", token=TOKEN)
        at = good(await forge.workspace(repository, "one", "bead/1", "main"))
        (Path(at.folder) / "b").write_text("two")
        git(Path(at.folder), "add", "--all")
        git(Path(at.folder), "commit", "--quiet", "--message=work")
        trial = Trial(number="mr-1", branch="bead/1", target="main")
        checked = good(await forge.check(repository, trial, (look,)))
        landing = Landing(number="mr-1", target="main", commit=checked.commit)
        good(await forge.land(repository, landing))
    assert TOKEN.encode() not in checked.reports[0].output
    assert TOKEN not in repr(repository)
    encoded = next(one for one in server.secrets if one.startswith("Basic ")).split()[1]
    for path in (tmp_path / "forge").rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode):
            content = path.read_bytes()
            assert TOKEN.encode() not in content, path
            assert encoded.encode() not in content, path


@contextmanager
def redirecting(to: str) -> Iterator[str]:
    """Serve an address that sends every request elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{to}{self.path}")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_rig_that_sends_elsewhere_gets_no_token_there(tmp_path: Path) -> None:
    forge = real_repositories(tmp_path / "forge", kind="none")
    server = FakeGitHub()
    async with server.serving():
        server.add("acme/rig", tmp_path / "served.git")
        with redirecting(server.base) as url:
            theirs = Repository(key="t-x", url=f"{url}/acme/rig", token=TOKEN)
            refused = await forge.workspace(theirs, "one", "bead/1", "main")
            assert not isinstance(refused, Ok)
            described = await GitHubPulls().describe(theirs, f"{url}/acme/rig/pull/1")
            assert not isinstance(described, Ok)
    assert server.secrets == set()


async def test_the_token_merges_nothing_of_another_repository(tmp_path: Path) -> None:
    server = FakeGitHub()
    async with server.serving():
        mine = server.add("acme/rig", tmp_path / "mine.git")
        theirs = server.add("acme/other", tmp_path / "theirs.git")
        commit_to(mine.folder, "main", {"a": "one"})
        commit_to(theirs.folder, "main", {"a": "one"})
        commit = commit_to(theirs.folder, "evil", {"b": "two"})
        other = Repository(key="t-o", url=f"{server.base}/acme/other", token=TOKEN)
        opened = good(await GitHubPulls().open(other, "evil", "main", "x", "y"))
        rig = Repository(key="t-h", url=f"{server.base}/acme/rig", token=TOKEN)
        refused = await GitHubPulls().merge(rig, opened.url, commit)
        assert isinstance(refused, Permanent)
        assert refused.code == port.NO_PULL_REQUEST
        assert theirs.pulls[0].state == "open"
