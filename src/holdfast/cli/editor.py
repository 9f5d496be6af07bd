"""Edits a text in the person's own editor: VISUAL, EDITOR, or vi.

The text may hold secrets: it is in a file of mode 0600, which is deleted afterwards.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from holdfast.cli.output import fail


def edit(text: str, *, suffix: str) -> str:
    """Return the text as the editor left it; exit if there is no editor or it failed."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        file = Path(folder, f"edit{suffix}")
        file.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run((*shlex.split(editor), str(file)), check=False)  # noqa: S603  the editor they chose
        except (OSError, ValueError) as error:
            fail(f"{editor}: {error}", fix="set EDITOR to the editor you use")
        if done.returncode != 0:
            fail(f"{editor} ended with {done.returncode}, so nothing was changed")
        return file.read_text(encoding="utf-8")
