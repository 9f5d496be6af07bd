"""Parameters that several rows share.

A pattern must match the whole text; whoever widens one here widens it for every row that uses it.
"""

from __future__ import annotations

from typing import Final

from holdfast.wire.endpoints.row import Param
from holdfast.wire.messages.fields import ID_PATTERN, NAME_PATTERN

ID: Final = Param("id", ID_PATTERN, "The id of the object.", required=True)
EVENT: Final = Param("event", ID_PATTERN, "The id of the event.", required=True)
KIND: Final = Param("kind", r"[a-z][a-z0-9-]{0,31}", "The kind of actor.", required=True)
ACCOUNT: Final = Param("account", NAME_PATTERN, "Only this account's; operators only.")
LIMIT: Final = Param("limit", r"[1-9][0-9]{0,2}", "Items in a page, 1 to 500 (default 100).")
AFTER: Final = Param("after", r"[A-Za-z0-9_.:@=/+-]{1,256}", "`next` of the page before.")
PAGING: Final = (LIMIT, AFTER)
