"""Which browsers open what a node sealed: this one, others, and a recovery code.

What this page does with keys it does in the browser (`static/node_keys.js`): the plane shows public
keys, and which copies it carries.
"""

from __future__ import annotations

from typing import Final

from holdfast.web.page import Context, Names, Page
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import NodeDetail


async def load(context: Context, call: Call) -> Names:
    """Return the node."""
    path = {"id": call.path["id"]}
    found = await context.api.ask(call, "content.node", NodeDetail, path=path)
    return {
        "id": call.path["id"],
        "title": found.node.title or found.node.name,
        "account": found.node.account,
        "is_instance": bool(found.node.instance),
    }


PAGE: Final = Page("node-keys", "node_keys.html", load, section="nodes")
