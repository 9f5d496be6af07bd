"""What a page is made of: its endpoint, its template, its data, and what makes it live."""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final, Generic, Protocol, TypeVar, cast
from urllib.parse import urlencode

import jinja2
from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from jinja2.runtime import Macro
from markupsafe import escape

from holdfast.kernel.clock import Clock
from holdfast.web.api import Api
from holdfast.web.assets import Assets
from holdfast.web.hub import Batch, Hub
from holdfast.wire.api.call import Call, Problem, Reply
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.table import by_name

Names = dict[str, Any]
"""What a template prints, by name."""

_TEMPLATES: Final = Path(__file__).parent / "templates"
_HTML: Final = "text/html; charset=utf-8"
_DIGEST_BYTES: Final = sha256().digest_size
_PATH_PARAM: Final = re.compile(r"\{(\w+)\}")

K = TypeVar("K")
V = TypeVar("V")
C = TypeVar("C", bound="Cache[Any, Any]")


class Cache(Generic[K, V]):
    """The `most` values that were kept last. A subclass names one purpose."""

    most: ClassVar[int]

    def __init__(self) -> None:
        self._kept: OrderedDict[K, V] = OrderedDict()
        self.writes = 0

    def get(self, key: K) -> V | None:
        """Return a kept value, or None."""
        return self._kept.get(key)

    def keep(self, key: K, value: V) -> V:
        """Keep a value in place of the oldest one, and return it."""
        self.writes += 1
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return value


@dataclass(frozen=True, slots=True)
class Context:
    """What every page is given: the API, the hub, the templates and the clock."""

    api: Api
    hub: Hub
    renderer: Renderer
    clock: Clock
    _caches: dict[type, Any] = field(default_factory=dict)

    def cache(self, kind: type[C]) -> C:
        """Return the one cache of a kind, which all readers share."""
        found: C = self._caches.setdefault(kind, kind())
        return found


class LivePage(Protocol):
    """The updates of one page that one reader has open. An empty text is not sent."""

    topics: frozenset[str]

    @property
    def idle_s(self) -> float:
        """How long to wait for changes before `idle` is called."""
        ...

    async def full(self) -> str:
        """Return everything on the page that can change."""
        ...

    async def changed(self, batch: Batch) -> str:
        """Return what a batch of changes made different."""
        ...

    async def idle(self) -> str:
        """Return what time alone made different."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or a `part` of one that the browser requests separately.

    `name` is that of its endpoint without `page.`. `load` returns what its template prints, for a
    request of the page and for its live stream alike: a stream has the page's own parameters.
    `section` is the entry of the bar that it belongs to, its own name where that is None.
    `live` opens it for a reader; a page without it does not change while it is looked at.
    """

    name: str
    template: str
    load: Callable[[Context, Call], Awaitable[Names]]
    section: str | None = None
    is_part: bool = False
    live: Callable[[Context, Page, Call], LivePage] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Return the page's row of the endpoint table."""
        return by_name[f"page.{self.name}"]

    @property
    def path_params(self) -> tuple[str, ...]:
        """Return the names of the parameters in the page's path."""
        return tuple(_PATH_PARAM.findall(self.endpoint.path))

    @property
    def stream_params(self) -> dict[str, str]:
        """Return the names in the stream's address of the path's parameters: the first is `id`."""
        return {("id" if n == 0 else name): name for n, name in enumerate(self.path_params)}

    def stream_href(self, call: Call) -> str:
        """Return the address of the live stream of the page as a reader asked for it.

        All of its own address is in it, since the first event draws the page again.
        """
        shown = {"page": self.name}
        shown |= {name: call.path[param] for name, param in self.stream_params.items()}
        return "/events?" + urlencode(shown | {k: v for k, v in call.query.items() if v})


def paging(call: Call, limit: int) -> dict[str, str]:
    """Return the page of a list that a URL requests, with `limit` items unless it has its own."""
    after = call.query.get("after", "")
    asked = {"limit": call.query.get("limit", "") or str(limit)}
    return asked | ({"after": after} if after else {})


class _Whole:
    """The code of a template with its digest before it in the file.

    So damaged code never reaches `marshal`, which takes any length in it for true: it was seen to
    take gigabytes of memory, and minutes, for a kilobyte of noise.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.key = bucket.key
        self._bucket = bucket

    def load_bytecode(self, file: BinaryIO) -> None:
        """Read the code, where it is what was written."""
        digest, code = file.read(_DIGEST_BYTES), file.read()
        if sha256(code).digest() == digest:
            self._bucket.bytecode_from_string(code)

    def write_bytecode(self, file: BinaryIO) -> None:
        """Write the digest and the code."""
        code = self._bucket.bytecode_to_string()
        file.write(sha256(code).digest() + code)


class CompiledTemplates(FileSystemBytecodeCache):
    """Templates as Python code, kept where Python keeps that of modules, for the next start.

    To compile them is most of what a start takes. Where the folder cannot be written, or what is
    in it cannot be read, they are compiled at each start. Who makes them may be another user than
    who reads them, as with modules: so they are anybody's to read.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), "%s.jinjac")

    def get_bucket(
        self, environment: Environment, name: str, filename: str | None, source: str
    ) -> Bucket:
        """Return the code of a template, or its empty place; it has a checksum of what it is of."""
        syntax = environment.autoescape, environment.trim_blocks, environment.lstrip_blocks
        made_from = f"{jinja2.__version__} {syntax} {source}"
        return super().get_bucket(environment, name, filename, made_from)

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read the code of a template, if it is there and whole."""
        try:
            super().load_bytecode(cast("Bucket", _Whole(bucket)))
        except Exception:  # noqa: BLE001  bytes that a disk damaged raise anything
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write the code of a template, if that is possible."""
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                Path(self.directory).mkdir(parents=True, exist_ok=True)
                super().dump_bytecode(cast("Bucket", _Whole(bucket)))
                Path(self.directory, self.pattern % (bucket.key,)).chmod(0o644)


def compiled_folder() -> Path:
    """Return the folder beside the bytecode of this module; `sys.pycache_prefix` moves both."""
    return Path(cache_from_source(__file__)).parent / "templates"


class Renderer:
    """The templates.

    Everything is escaped, and a name that is missing is an error, not an empty place. The macros
    of `_macros.html` are there in every template.
    """

    def __init__(self, assets: Assets, *, version: str, compiled: Path | None = None) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            bytecode_cache=CompiledTemplates(compiled or compiled_folder()),
        )
        self._environment.globals |= {"asset": assets.url, "version": version}
        macros = vars(self._environment.get_template("_macros.html").module)
        self._environment.globals |= {
            name: macro for name, macro in macros.items() if isinstance(macro, Macro)
        }
        for name in self._environment.list_templates():
            self._environment.get_template(name)  # a broken template stops the plane, not a page

    def draw(self, template: str, **names: Any) -> str:
        """Return a template with its names filled in."""
        return self._environment.get_template(template).render(**names)

    def draw_elements(self, template: str, ids: Collection[str], **names: Any) -> str:
        """Return updates of elements: each is drawn by the template's block of the same name."""
        found = self._environment.get_template(template)
        context = found.new_context(names)
        return "".join(
            update(f"#{each}", "".join(found.blocks[each.replace("-", "_")](context)))
            for each in ids
        )

    def page(self, call: Call, template: str, **names: Any) -> Reply:
        """Return a whole page for the caller."""
        who = call.principal
        shell = {
            "person": who.name if who.scope in {"owner", "operator"} else "",
            "is_operator": who.scope == "operator",
            "has_session": who.kind == "session",
        }
        return self.part(template, **(shell | names))

    def part(self, template: str, **names: Any) -> Reply:
        """Return a part of a page."""
        return Reply(self.draw(template, **names).encode(), content_type=_HTML)

    def problem(self, status: int, problem: Problem) -> bytes:
        """Return the page of a refusal."""
        names = {"person": "", "is_operator": False, "has_session": False}
        return self.draw(
            "problem.html", status=status, problem=problem, waiting=0, **names
        ).encode()


def update(target: str, html: str, *, swap: str = "innerMorph") -> str:
    """Return HTML for the place of an open page that the selector `target` finds."""
    return f'<hx-partial hx-target="{escape(target)}" hx-swap="{swap}">{html}</hx-partial>\n'
