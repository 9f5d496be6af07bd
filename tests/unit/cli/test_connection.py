"""Which hosts the command line sends the local token to."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from holdfast.cli import connection
from holdfast.cli.client import Client, Proof
from holdfast.plane.key_folder import TOKEN_FILE
from holdfast.plane.plane_key import read_or_make_plane_key
from holdfast.stores.sqlite.folder_lock import Holder, take_lock

LOCAL = "hf_local"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home, keys = tmp_path / "home", tmp_path / "home.keys"
    for folder in (home, keys):
        folder.mkdir(mode=0o700)
    (keys / TOKEN_FILE).write_text(LOCAL + "\n")
    read_or_make_plane_key(keys)
    monkeypatch.setenv("HOLDFAST_HOME", str(home))
    for name in ("HOLDFAST_TOKEN", "HOLDFAST_URL", "HOLDFAST_PORT", "HOLDFAST_HOST"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    made: list[tuple[str, str]] = []

    class Watched(Client):
        def __init__(self, base_url: str, token: str = "", *, proof: Proof | None = None) -> None:
            made.append((base_url, token))
            assert not token or base_url.startswith("https") or proof, "by http it is proven first"
            super().__init__(base_url, token, proof=proof)

    monkeypatch.setattr(connection, "Client", Watched)
    return made


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("", LOCAL),
        ("http://127.0.0.1:9000", LOCAL),
        ("http://localhost:9000", LOCAL),
        ("http://[::1]:9000", LOCAL),
        ("https://plane.example", ""),
        ("http://127.evil.example", ""),
        ("http://192.0.2.1:8700", ""),
    ],
)
def test_the_local_token_stays_on_this_machine(
    home: Path, shown: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, url: str, token: str
) -> None:
    del home
    monkeypatch.setenv("HOLDFAST_URL", url)
    connection.connect()
    assert shown == [(url or "http://127.0.0.1:8700", token)]


def test_a_token_that_was_given_goes_where_it_was_told_to(
    home: Path, shown: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    del home
    monkeypatch.setenv("HOLDFAST_URL", "https://plane.example")
    monkeypatch.setenv("HOLDFAST_TOKEN", "hf_given")
    connection.connect()
    assert shown == [("https://plane.example", "hf_given")]


def test_the_plane_of_this_folder_may_be_reached_by_its_public_name(
    home: Path, shown: list[tuple[str, str]]
) -> None:
    held = take_lock(home, Holder(1, 0, "here", "https://plane.example"))
    try:
        connection.connect()
    finally:
        held.release()
    assert shown == [("https://plane.example", LOCAL)]


@pytest.mark.parametrize("url", ["http://192.0.2.1:8700", "http://plane.example"])
def test_no_token_goes_by_plain_http_to_another_machine(
    home: Path, shown: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    del home
    monkeypatch.setenv("HOLDFAST_URL", url)
    monkeypatch.setenv("HOLDFAST_TOKEN", "hf_given")
    with pytest.raises(typer.Exit) as ended:
        connection.connect()
    assert (ended.value.exit_code, shown) == (2, [])
