"""Templates: everything is escaped, and a name that is missing is an error, not an empty place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from holdfast.web.assets import Assets
from holdfast.web.models.moments import bytes_words
from holdfast.wire.api.call import Call, Problem, Reply

_TEMPLATES: Final = Path(__file__).parent / "templates"
_HTML: Final = "text/html; charset=utf-8"


class Renderer:
    """The templates with what every page has."""

    def __init__(self, assets: Assets, *, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["bytes_words"] = bytes_words
        self._environment.globals |= {"asset": assets.url, "version": version}
        for name in self._environment.list_templates():
            self._environment.get_template(name)  # a broken template stops the plane, not a page

    def draw(self, template: str, **names: Any) -> str:
        """Return a template with its names filled in."""
        return self._environment.get_template(template).render(**names)

    def page(self, call: Call, template: str, **names: Any) -> Reply:
        """Return a whole page for the caller."""
        who = call.principal
        shell = {
            "person": who.name if who.scope in {"owner", "operator"} else "",
            "is_operator": who.scope == "operator",
            "has_session": who.kind == "session",
            "csrf": call.csrf,
            "waiting": 0,
        }
        return self.part(template, **(shell | names))

    def part(self, template: str, **names: Any) -> Reply:
        """Return a part of a page."""
        return Reply(self.draw(template, **names).encode(), content_type=_HTML)

    def problem(self, status: int, problem: Problem) -> bytes:
        """Return the page of a refusal."""
        names = {"person": "", "is_operator": False, "has_session": False, "csrf": ""}
        return self.draw(
            "problem.html", status=status, problem=problem, waiting=0, **names
        ).encode()
