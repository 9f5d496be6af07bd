"""The sign-in page; a GET of it never signs in."""

from __future__ import annotations

from typing import Final

from holdfast.web.page import Context, Names, Page
from holdfast.wire.api.call import Call


async def load(context: Context, call: Call) -> Names:  # noqa: ARG001  a page's form
    """Return what the address says: the secret of a link, and where to go afterwards."""
    return {"link": call.query.get("link", ""), "next": call.query.get("next", "/")}


PAGE: Final = Page("sign-in", "sign_in.html", load, section="")
