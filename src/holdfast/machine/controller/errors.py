"""A refusal of the control API, raised where it is found out and answered at the edge."""

from __future__ import annotations


class RefusedError(Exception):
    """What was asked cannot be; `status` and `code` are the answer's, `error` its sentence.

    `facts` go into the body beside them.
    """

    def __init__(self, status: int, code: str, error: str, **facts: object) -> None:
        """Refuse with this HTTP status."""
        super().__init__(f"{status} {code}: {error}")
        self.status = status
        self.code = code
        self.error = error
        self.facts = facts

    @property
    def body(self) -> dict[str, object]:
        """Return the answer's body."""
        return {"error": self.error, "code": self.code, **self.facts}
