from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.web.assets import NEEDED, Assets, MissingAssetError
from holdfast.web.hub import Hub
from holdfast.web.site import Pages
from holdfast.wire.api.call import Call, Principal, Refusal

ANYBODY = Principal("anonymous", "public", None, "anonymous")


def folder(tmp_path: Path) -> Path:
    for name in (*NEEDED, "app.js"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"/* {name} */" + " " * 2_000)
    (tmp_path / "vendor" / ".complete").write_text("hidden")
    (tmp_path.parent / "secret.txt").write_text("no")
    return tmp_path


def asked(path: str, *, v: str = "", **header: str) -> Call:
    headers = {name.replace("_", "-"): value for name, value in header.items()}
    query = {"v": v} if v else {}
    return Call("page.static", ANYBODY, path={"path": path}, query=query, header=headers)


async def test_a_hashed_address_is_kept_for_ever_and_another_is_asked_for_again(
    tmp_path: Path,
) -> None:
    assets = Assets(folder(tmp_path))
    name, _, version = assets.url("app.js").removeprefix("/static/").partition("?v=")
    kept = await assets.serve(asked(name, v=version))
    assert "immutable" in kept.headers["cache-control"]
    assert kept.content_type.startswith("text/javascript")
    for call in (asked(name), asked(name, v="0" * 16)):
        reply = await assets.serve(call)
        assert reply.headers["cache-control"] == "no-cache"
        again = await assets.serve(asked(name, if_none_match=reply.headers["etag"]))
        assert (again.status, again.body) == (304, None)


async def test_what_the_browser_can_unpack_is_sent_packed(tmp_path: Path) -> None:
    assets = Assets(folder(tmp_path))
    plain = await assets.serve(asked("app.js"))
    packed = await assets.serve(asked("app.js", accept_encoding="gzip, br"))
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body)
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "vendor/../../secret.txt", "/etc/passwd", "vendor/.complete", "nope"]
)
async def test_nothing_outside_the_set_is_served(tmp_path: Path, path: str) -> None:
    assets = Assets(folder(tmp_path))
    with pytest.raises(Refusal) as refused:
        await assets.serve(asked(path))
    assert refused.value.status == 404


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (folder(tmp_path) / NEEDED[0]).unlink()
    with pytest.raises(MissingAssetError, match=r"htmx\.min\.js.*make up"):
        Assets(tmp_path)


def test_every_file_a_template_names_is_there() -> None:
    pages = Pages({}, hub=Hub(), clock=ManualClock(), version="0")
    assert "page.fleet" in pages.by_endpoint()
    here = Path(__file__).parents[3] / "src" / "holdfast" / "web"
    assets = Assets()
    for template in (here / "templates").rglob("*.html"):
        for part in template.read_text().split("asset('")[1:]:
            assert assets.url(part.partition("'")[0])
