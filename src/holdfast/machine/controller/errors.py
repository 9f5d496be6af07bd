"""Refusals of the control API, raised where they are detected and answered by its middleware."""

from __future__ import annotations


class RefusedError(Exception):
    """A refused request; `status` and `code` are the answer's, `error` its sentence.

    `facts` are added to the body.
    """

    def __init__(self, status: int, code: str, error: str, **facts: object) -> None:
        super().__init__(f"{status} {code}: {error}")
        self.status = status
        self.code = code
        self.error = error
        self.facts = facts

    @property
    def body(self) -> dict[str, object]:
        """Return the answer's body."""
        return {"error": self.error, "code": self.code, **self.facts}
