"""`holdfast town`, `rig`, `sling`, `bead` and `convoy` against a real plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.planes import PlaneProcess, plane_at


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("clitowns") / "home") as made:
        yield made


def test_a_town_from_its_making_to_its_end(plane: PlaneProcess, tmp_path: Path) -> None:
    said = plane.cli("sling", "web", "Too early", code=4).stderr
    assert "holdfast town create" in said
    plane.cli("town", "create", "elm")
    secret = tmp_path / "secret"
    secret.write_text("ghp_nobody-sees-this\n")
    shown = plane.cli(
        "rig", "add", "web", "--repository", str(tmp_path), "--gate", "test=make 'a b'",
        "--command", "polecat=agent {prompt}", "--token", f"@{secret}",
    ).stdout  # fmt: skip
    assert "make 'a b'" in shown
    assert "ghp_" not in shown + plane.cli("rig", "list", "--json").stdout
    assert plane.json("rig", "list")["items"][0]["gates"]["test"]["command"] == ["make", "a b"]
    assert "draining  yes" in plane.cli("town", "drain", "start").stdout

    one = plane.cli("sling", "web", "Mend the door", "--body", f"@{secret}").stdout.strip()
    two = plane.cli("sling", "web", "Paint it", "--after", one[:12], "--held").stdout.strip()
    listed = plane.cli("bead", "list").stdout
    assert "Paint it (held)" in listed
    assert one[:13] in listed
    assert one not in listed
    assert f"waits for  {one} (open) Mend the door" in plane.cli("bead", "show", two[:13]).stdout
    why = plane.cli("bead", "why", two[:13]).stdout
    assert "waits" in why
    plane.cli("bead", "release", two[:13])
    plane.cli("bead", "waive", two[:13], one[:13])
    plane.cli("bead", "cancel", one[:13], "--done")
    status = plane.cli("town", "status").stdout
    assert "1 open" in status
    assert "1 closed" in status
    assert plane.cli("bead", "show", "nothing", code=4).stderr

    plane.cli("town", "set", "repair=false", "merge_strategy=pr")
    settings = plane.json("town", "show", "elm")["settings"]
    assert (settings["repair"], settings["merge_strategy"]) == (False, "pr")
    assert "is no setting" in plane.cli("town", "set", "nonsense=1", code=2).stderr
    assert "attempts_max" in plane.cli("town", "set", "attempts_max=0", code=2).stderr


def test_convoys_agents_and_what_an_engineer_looks_at(plane: PlaneProcess, tmp_path: Path) -> None:
    made = plane.json("town", "list")["items"]
    assert [one["name"] for one in made] == ["elm"]
    shown = plane.cli(
        "convoy", "create", "web", "A diamond", "--task", "Base", "--task", "Left after 0",
        "--task", "Right after 0", "--task", "Top after 1,2", "--staged",
    ).stdout  # fmt: skip
    assert "staged" in shown
    assert "1, 2" in shown
    convoy = plane.json("convoy", "list")["items"][0]["bead"]["id"]
    assert "staged" in plane.cli("convoy", "list").stdout
    plane.cli("convoy", "start", convoy[:13])
    assert plane.json("convoy", "show", convoy)["facts"]["staged"] is False
    plane.cli("convoy", "cancel", convoy)
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps([{"title": "One"}, {"title": "Two", "depends_on": [0]}]))
    plane.cli("convoy", "create", "web", "From a file", "--tasks", str(tasks))
    tasks.write_text("[{}]")
    assert plane.cli("convoy", "create", "web", "Bad", "--tasks", str(tasks), code=2).stderr

    plane.cli("town", "add-agent", "polecat", "--rig", "web", "--name", "furio")
    plane.cli("town", "mail", "furio", "Hello", "-b", "Look here.")
    plane.cli("town", "nudge", "furio", "Go on.")
    assert "furio" in plane.cli("town", "agents").stdout
    assert "Nobody is needed" in plane.cli("town", "escalations").stderr
    assert "Nothing was told" in plane.cli("town", "notices").stderr
    plane.cli("town", "remove-agent", "furio")

    ahead = plane.cli("rehearse", "dry-run", "town/elm").stdout
    assert "tick" in ahead
    assert "state bit-equal  true" in plane.cli("rehearse", "replay", "town/elm").stdout

    plane.cli("town", "create", "oak")
    said = plane.cli("bead", "list", code=2).stderr
    assert "elm, oak" in said or "oak, elm" in said
    assert plane.cli("bead", "list", "--town", "elm").stdout
    plane.cli("rig", "remove", "web", "-t", "elm")
    plane.cli("town", "close", "oak", "--yes")
    plane.cli("town", "drain", "end")
    assert "draining  no" in plane.cli("town", "drain").stdout


def test_tables_keep_to_80_columns(plane: PlaneProcess) -> None:
    plane.cli("rig", "add", "web", "-t", "elm")
    plane.cli("sling", "web", "A title that is far longer than " + "what fits " * 12, "-t", "elm")
    for words in (
        ("town", "list"), ("town", "status", "elm"), ("town", "agents", "-t", "elm"),
        ("rig", "list", "-t", "elm"), ("bead", "list", "-t", "elm", "--all"),
        ("convoy", "list", "-t", "elm", "--all"),
    ):  # fmt: skip
        lines = plane.cli(*words, COLUMNS="80").stdout.splitlines()
        assert lines, words
        assert max(map(len, lines)) <= 80, (words, max(lines, key=len))


def test_a_shell_completes_names_of_what_there_is(plane: PlaneProcess) -> None:
    def completed(*words: str) -> list[str]:
        return plane.cli(
            code=None, _HOLDFAST_COMPLETE="complete_bash", COMP_WORDS=" ".join(words),
            COMP_CWORD=str(len(words) - 1),
        ).stdout.split()  # fmt: skip

    assert completed("holdfast", "town", "status", "el") == ["elm"]
    assert completed("holdfast", "sling", "--town", "elm", "w") == ["web"]
    assert completed("holdfast", "sling", "--town", "nowhere", "w") == []
