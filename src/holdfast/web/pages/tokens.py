"""API tokens, for programs."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.web.page import Context, Names, Page
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.accounts import TokenList, TokenView
from holdfast.wire.api.call import Call


class TokenRow(NamedTuple):
    """One API token."""

    id: str
    name: str
    scope: str
    account: str
    by: str
    created: Moment | None
    used: Moment | None
    expires: Moment | None
    badge: Badge
    is_live: bool


def token_row(found: TokenView, *, now_ms: int) -> TokenRow:
    """Return a token; revoked and expired ones stay listed."""
    expires = moment(found.expires_at, now_ms)
    badge = Badge("active", "ok")
    if found.revoked_at:
        badge = Badge("revoked", "off")
    elif expires and not expires.words.startswith("in "):
        badge = Badge("expired", "off")
    is_live = badge.tone == "ok"
    if found.damaged:
        badge = Badge("damaged", "bad", found.damaged)
    return TokenRow(
        id=found.id,
        name=found.name,
        scope=found.scope,
        account=found.account or "",
        by=found.created_by,
        created=moment(found.created_at, now_ms),
        used=moment(found.last_used_at, now_ms),
        expires=expires,
        badge=badge,
        is_live=is_live,
    )


async def load(context: Context, call: Call) -> Names:
    """Return the tokens, live ones first."""
    found = await context.api.ask(call, "token.list", TokenList)
    rows = [token_row(item, now_ms=call.now_ms) for item in found.items]
    return {"rows": sorted(rows, key=lambda row: not row.is_live)}


PAGE: Final = Page("tokens", "tokens.html", load)
