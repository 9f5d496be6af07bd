"""Write docs/reference/ from the code: settings, endpoints, events, letters, metrics, commands.

`make docs` runs it, and tests/house compares its pages with those in git, so nothing that exists
is undocumented and no page describes what is gone. Each part is discovered at run time; a package
that has no code yet has no page yet. It must never describe from memory what can be read.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "src" / "holdfast"
FOLDER: Final = ROOT / "docs" / "reference"
CONTROLLER_OPENAPI: Final = FOLDER / "controller.openapi.json"
NOTE: Final = "<!-- Written by `make docs` from the code; changes here are overwritten. -->\n\n"


class Entry(NamedTuple):
    """One documented thing: what it is called, what it does, and further cells of its row."""

    name: str
    meaning: str
    cells: tuple[str, ...] = ()


class Page(NamedTuple):
    """A reference page: `heads` name the columns after name and before meaning."""

    title: str
    lead: str
    heads: tuple[str, ...]
    entries: tuple[Entry, ...]

    def render(self) -> str:
        """Return the page as Markdown."""
        columns = ("name", *self.heads, "meaning")
        lines = [f"# {self.title}\n", f"{self.lead}\n", row(columns), row("---" for _ in columns)]
        lines += [row((f"`{e.name}`", *e.cells, e.meaning)) for e in self.entries]
        return NOTE + "\n".join(lines) + "\n"


def row(cells: Iterable[str]) -> str:
    """Return one line of a table; a bar inside a cell would end it, so it is escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def load(name: str) -> ModuleType | None:
    """Import a module that may not exist yet; one that exists and fails raises as it does."""
    return importlib.import_module(name) if util.find_spec(name) is not None else None


def has_code(package: str) -> bool:
    """Say whether a package holds more than its own docstring."""
    return any(path.name != "__init__.py" for path in (PACKAGE / package).rglob("*.py"))


def first_sentence(thing: object) -> str:
    """Return the first paragraph of its own docstring on one line; empty when it has none."""
    doc = vars(thing).get("__doc__") or ""
    return " ".join(inspect.cleandoc(doc).split("\n\n")[0].split())


def settings_page() -> Page | None:
    """Return every setting of the plane."""
    module = load("holdfast.plane.settings")
    if module is None:
        return None
    entries = tuple(
        Entry(name, meaning, (f"`{variable}`", f"`{default}`" if default else ""))
        for name, variable, default, meaning in module.describe_settings()
    )
    lead = (
        "Read from the environment, else from `config.toml` in the data folder, else the default."
    )
    return Page("Settings", lead, ("environment", "default"), entries)


def endpoints_page() -> Page | None:
    """Return every route of the plane."""
    module = load("holdfast.wire.api.table")
    if module is None:
        return None
    entries = tuple(
        Entry(
            e.name,
            e.summary,
            (
                f"`{e.method} {e.path}`",
                f"`{e.scope}`",
                type_name(e.request),
                type_name(e.response),
                e.since,
            ),
        )
        for e in sorted(module.ENDPOINTS, key=lambda e: (e.path, e.method))
    )
    lead = "The scope is what a caller's token or session must hold. `/api/openapi.json` says more."
    return Page("Endpoints", lead, ("route", "scope", "request", "response", "since"), entries)


def controller_page() -> Page:
    """Return every route of the controller in an agent's machine."""
    rows = importlib.import_module("holdfast.wire.controller.table").ROUTES
    entries = tuple(
        Entry(
            row.name,
            " ".join((row.summary, *(f"`{param.name}`: {param.summary}." for param in row.params))),
            (
                f"`{row.method} {row.path}`",
                type_name(row.request),
                type_name(row.response),
                f"`{row.capability}`" if row.capability else "",
                ", ".join((*map(str, row.statuses), *(f"`{code}`" for code in row.codes))),
            ),
        )
        for row in sorted(rows, key=lambda row: (row.tail, row.method))
    )
    lead = (
        "Each is served below both `/_kilo/` and `/_holdfast/` and wants the machine's gateway "
        "token, but for health. [controller.openapi.json](controller.openapi.json) says more."
    )
    heads = ("route", "request", "response", "capability", "statuses and codes")
    return Page("Routes of the controller", lead, heads, entries)


def controller_openapi() -> str:
    """Return the controller's routes as an OpenAPI document."""
    rows = importlib.import_module("holdfast.wire.controller.table").ROUTES
    openapi = importlib.import_module("holdfast.plane.openapi")
    version = str(importlib.import_module("holdfast").__version__)
    made = openapi.document(rows, version=version, api=openapi.CONTROLLER)
    return json.dumps(made) + "\n"


def type_name(of: Any) -> str:
    """Return a type's name as code, or nothing."""
    return "" if of is None else f"`{getattr(of, '__name__', of)}`"


def structs(module: ModuleType) -> Iterator[Any]:
    """Yield the tagged structs that a module defines, in the order of their tags."""
    own: list[Any] = [thing for thing in vars(module).values() if inspect.isclass(thing)]
    tagged = {
        str(thing.__struct_config__.tag): thing
        for thing in own
        if thing.__module__ == module.__name__ and hasattr(thing, "__struct_config__")
        if thing.__struct_config__.tag is not None
    }
    yield from (tagged[tag] for tag in sorted(tagged))


def struct_entries(modules: Iterable[str]) -> tuple[Entry, ...]:
    """Return an entry for each tagged struct in the named modules."""
    entries = []
    for name in modules:
        module = importlib.import_module(name)
        for struct in structs(module):
            fields = ", ".join(f"`{field}`" for field in struct.__struct_fields__)
            where = name.removeprefix("holdfast.").removesuffix(".events").removesuffix(".intents")
            entries.append(
                Entry(str(struct.__struct_config__.tag), first_sentence(struct), (where, fields))
            )
    return tuple(entries)


def modules_below(package: str, stem: str = "*") -> list[str]:
    """Return the names of the modules of a package whose file is called `stem`."""
    files = (PACKAGE / package).rglob(f"{stem}.py") if package else PACKAGE.rglob(f"{stem}.py")
    return sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in files
        if path.name != "__init__.py"
    )


def events_page() -> Page | None:
    """Return every event of every actor."""
    modules = sorted([*modules_below("", "events"), *modules_below("towns", "intents")])
    if not modules:
        return None
    lead = "What can happen to an actor. Past tense, versioned, readable for ever."
    return Page("Events", lead, ("actor", "fields"), struct_entries(modules))


def letters_page() -> Page | None:
    """Return every letter that one actor sends another."""
    modules = modules_below("letters")
    if not modules:
        return None
    lead = "What actors say to each other."
    return Page("Letters", lead, ("speaker", "fields"), struct_entries(modules))


def metrics_page() -> Page:
    """Return every metric."""
    rows = importlib.import_module("holdfast.kernel.metrics").CATALOGUE
    entries = tuple(
        Entry(
            metric.name,
            metric.help,
            (type(metric).__name__.lower(), ", ".join(f"`{label}`" for label in metric.labels)),
        )
        for metric in sorted(rows, key=lambda metric: metric.name)
    )
    lead = "Served at `/metrics`. A label never holds an id of unbounded number."
    return Page("Metrics", lead, ("kind", "labels"), entries)


def commands_page() -> Page | None:
    """Return every command. The command line is made in holdfast.cli.main."""
    if not has_code("cli"):
        return None
    app = importlib.import_module("holdfast.cli.main").make_app()
    typer = importlib.import_module("typer")
    entries = tuple(commands(typer.main.get_command(app), "holdfast"))
    lead = "Every command has `--help`; those that show something have `--json`."
    return Page("Commands", lead, ("options",), entries)


def commands(command: Any, path: str) -> Iterator[Entry]:
    """Yield an entry for each command below `command`, in the order of their names."""
    inner = getattr(command, "commands", None)
    if inner:
        for name in sorted(inner):
            yield from commands(inner[name], f"{path} {name}")
        return
    if getattr(command, "hidden", False):
        return
    options = sorted({option for param in command.params for option in param.opts})
    shown = ", ".join(f"`{option}`" for option in options if option != "--help")
    yield Entry(path, " ".join((command.help or "").split("\n\n")[0].split()), (shown,))


PAGES: Final[dict[str, Callable[[], Page | None]]] = {
    "settings": settings_page,
    "endpoints": endpoints_page,
    "controller": controller_page,
    "events": events_page,
    "letters": letters_page,
    "metrics": metrics_page,
    "cli": commands_page,
}


def main() -> None:
    """Write the pages of what exists and remove those of what is gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    CONTROLLER_OPENAPI.write_text(controller_openapi(), encoding="utf-8")
    for name, make in PAGES.items():
        page = make()
        target = FOLDER / f"{name}.md"
        if page is None:
            target.unlink(missing_ok=True)
            print(f"  {name}: nothing yet")
            continue
        target.write_text(page.render(), encoding="utf-8")
        print(f"  {name}: {len(page.entries)} entries")


if __name__ == "__main__":
    main()
