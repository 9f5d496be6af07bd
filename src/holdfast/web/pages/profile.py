"""Who is signed in, and their password."""

from __future__ import annotations

from typing import Final

from holdfast.web.page import Context, Names, Page
from holdfast.web.parts.moments import moment
from holdfast.wire.api.accounts import SessionView
from holdfast.wire.api.call import Call


async def load(context: Context, call: Call) -> Names:
    """Return who is signed in."""
    found = await context.api.ask(call, "session.get", SessionView)
    return {"session": found, "expires": moment(found.expires_at, call.now_ms)}


PAGE: Final = Page("profile", "profile.html", load)
