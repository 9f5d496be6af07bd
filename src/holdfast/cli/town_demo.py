"""`holdfast town demo`: a town that works on a small repository, with agents that need no model.

Each step looks whether it was done, so a demo that was interrupted goes on where it was.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from holdfast.cli.connection import Connection, plane_url
from holdfast.cli.output import fail, progress, say, show, show_facts
from holdfast.cli.town_option import taken
from holdfast.disk.durable_file import make_folder, move, write_file
from holdfast.plane.settings import Settings
from holdfast.wire.api.town_work import BeadList, BeadView, ConvoyCreate, ConvoyView, TaskAdd
from holdfast.wire.api.towns import Gate, RigAdd, TownCreate, TownPatch
from holdfast.wire.times import parse_time

NAME: Final = "demo"
RIG: Final = "poems"
_ASKED: Final = "new"
"""The folder of a demo town that was asked for, until its id is known."""
_LOOK_S: Final = 1.0
_INTERRUPTED: Final = 130
_MINUTE_S: Final = 60
_GATE: Final = ("sh", "-c", "test -f README.md && ! grep -rq TODO --include=*.txt .")


class Task(NamedTuple):
    """A task of the demo: what is written into which file."""

    title: str
    file: str
    text: str
    after: tuple[int, ...] = ()
    first: str = ""
    """A script of the first attempt, which does not end well."""


TASKS: Final = (
    Task("Choose a subject", "subject.txt", "the sea"),
    Task("Write the first verse", "first.txt", "The sea is wide,", (0,)),
    Task("Write the second verse", "second.txt", "the boats are small,", (0,), "fail 3"),
    Task("Join the verses", "poem.txt", "The sea is wide, the boats are small.", (1, 2)),
    Task("Add a title", "title.txt", "Holding fast", (3,)),
)
"""A diamond: the second verse fails once, and is tried again after half a minute."""


def run_demo(plane: Connection, settings: Settings, tasks: Sequence[Task] = TASKS) -> None:
    """Make the town, give it work and tell what happens until it has landed."""
    if shutil.which("git") is None:
        fail("git is not installed", fix="apt install git")
    town = _find_or_make_town(plane, Path(settings.home))
    repository = _make_repository(_folder(Path(settings.home), town))
    setting = RigAdd(name=RIG, repository=str(repository), gates={"lint": Gate(command=_GATE)})
    _taken(plane.call("towns.rig", path={"id": town}, body=setting))
    convoy = _find_or_make_convoy(plane, town, tasks)
    page = f"{plane_url(settings)}/towns/{town}"
    show(f"Town {NAME} works on {repository}")
    say(f"Its page: {page}")
    try:
        landed = _watch(plane, town, convoy)
    except KeyboardInterrupt:
        say(f"The town works on. Watch again: holdfast town {NAME}")
        raise typer.Exit(_INTERRUPTED) from None
    if landed.bead.status != "closed":
        fix = f"holdfast convoy show {convoy} --town {NAME}"
        fail(f"the convoy ended as {landed.bead.status}", fix=fix)
    beads: BeadList = plane.every("towns.beads", path={"id": town})
    show("")
    show("It landed.", style="bold")
    show_facts(
        [
            *report(landed, beads.items),
            ("on main", _git(repository, "log", "-1", "--format=%h %s", "main")),
            ("its files", _git(repository, "ls-tree", "--name-only", "main").replace("\n", " ")),
        ]
    )
    show("\nLook further:")
    show(f"  {page}")
    show(f"  holdfast convoy show {convoy} --town {NAME}")
    show(f"  git -C {repository} log --graph main")
    show(f"Once more from the start: holdfast town close {NAME}, then holdfast town {NAME}")


def report(convoy: ConvoyView, beads: Iterable[BeadView]) -> list[tuple[str, str]]:
    """Return names and values of what a convoy took; `beads` are all of its town."""
    known = list(beads)
    tried = [one for one in known if one.charged]
    failed = sum(one.charged for one in tried)
    titles = ", ".join(one.title for one in tried)
    reviews = sum(one.type == "merge_request" for one in known)
    attempts = f"{sum(one.attempts for one in known)}, of them {failed} failed"
    began, ended = parse_time(convoy.bead.created_at), parse_time(convoy.facts.landed_at or "")
    return [
        ("tasks", f"{convoy.facts.closed} of {convoy.facts.total}, {reviews} merge requests"),
        ("took", "" if began is None or ended is None else _spell((ended - began) // 1_000)),
        ("attempts", f"{attempts} and tried again: {titles}" if failed else attempts),
    ]


def _spell(seconds: int) -> str:
    minutes, rest = divmod(seconds, _MINUTE_S)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _folder(home: Path, town: str) -> Path:
    """Return the folder of a demo town: each has its own, so an earlier one is in nobody's way."""
    return home / f"town-{NAME}" / town


def _find_or_make_town(plane: Connection, home: Path) -> str:
    """Return the id of the demo town of this data folder that is not closed, or of a new one."""
    found = [one for one in plane.every("towns.list").items if not one.closed]
    town: str = next((one.id for one in found if _folder(home, one.id).is_dir()), "")
    named = next((one.id for one in found if one.name == NAME), "")
    asked = _folder(home, _ASKED)
    if not town and named and not asked.is_dir():
        fix = f"if nobody needs it: holdfast town close {NAME}"
        fail(f"a town called {NAME} is there, and it is none of this command's", fix=fix)
    if not town:
        make_folder(asked)
        town = named or _taken(plane.call("towns.create", body=TownCreate(name=NAME))).id
        move(asked, _folder(home, town))
    _taken(plane.call("towns.set", path={"id": town}, body=TownPatch(polecats_max=2)))
    return town


def _taken(answer: Any) -> Any:
    """Return an answer; exit where it is not taken yet: the next run goes on there."""
    return taken(answer, as_json=False)


def _find_or_make_convoy(plane: Connection, town: str, tasks: Sequence[Task]) -> str:
    """Return the id of the convoy that a demo town has, or of a new one."""
    found = plane.every("towns.convoys", path={"id": town}).items
    if found:
        return str(found[0].bead.id)
    made = _taken(plane.call("towns.convoy", path={"id": town}, body=_work(tasks)))
    return str(made.bead.id)


def _make_repository(folder: Path) -> Path:
    """Return the bare repository of a demo town; a new one has one commit."""
    bare = folder / "rig.git"
    if bare.exists():
        return bare
    seed, draft = folder / "seed", folder / "draft.git"
    for left in (seed, draft):  # by one who was interrupted
        shutil.rmtree(left, ignore_errors=True)
    make_folder(seed)
    write_file(seed / "README.md", b"Poems by agents.\n")
    for words in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "."),
        ("commit", "--quiet", "--message=Begin"),
        ("clone", "--quiet", "--bare", ".", str(draft)),
    ):
        _git(seed, *words)
    shutil.rmtree(seed)
    move(draft, bare)
    return bare


def _git(folder: Path, *words: str) -> str:
    """Return what git printed."""
    who = ("-c", "user.name=Holdfast", "-c", "user.email=demo@localhost")
    done = subprocess.run(  # noqa: S603  words of ours
        ("git", *who, *words),  # noqa: S607  it was found on the path
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        fail(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _work(tasks: Sequence[Task]) -> ConvoyCreate:
    """Return the convoy; each text is a script of the bundled agent."""
    made = tuple(
        TaskAdd(
            title=task.title,
            body="\n".join(
                [
                    *([f"script: @1 {task.first}"] if task.first else []),
                    f"script: write {task.file} {task.text}",
                    f"script: commit {task.title}",
                    "script: done",
                ]
            ),
            depends_on=task.after,
        )
        for task in tasks
    )
    return ConvoyCreate(rig=RIG, title="A poem", tasks=made)


def _watch(plane: Connection, town: str, convoy: str) -> ConvoyView:
    """Print each change of a bead until the convoy has ended; return how it is then."""
    known: dict[str, str] = {}
    with progress("working") as line:
        while True:
            now: ConvoyView = plane.call("towns.get-convoy", path={"id": town, "bead": convoy})
            for said in _news(now.tasks, known):
                say(said)
            line.update(f"working: {now.facts.closed} of {now.facts.total} done")
            if now.bead.status != "open":
                return now
            time.sleep(_LOOK_S)


def _news(beads: Iterable[BeadView], known: dict[str, str]) -> list[str]:
    """Return a line for each bead that is not as it was, and note how it is."""
    found = []
    for bead in beads:
        state = bead.status.replace("_", " ")
        if bead.status == "open" and bead.failure:
            state = f"waits to be tried again: {bead.failure}"
        if known.get(bead.id, "open") != state:
            by = f" ({bead.assignee})" if bead.assignee else ""
            what = "Review: " if bead.type == "merge_request" else ""
            found.append(f"{what}{bead.title}: {state}{by}")
        known[bead.id] = state
    return found
