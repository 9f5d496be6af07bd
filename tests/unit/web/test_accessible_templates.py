"""What axe found once in templates, and a text can be asked for without a browser."""

from __future__ import annotations

import re
from pathlib import Path

TEXTS = {path.name: path.read_text() for path in Path("src/holdfast/web/templates").rglob("*.html")}
BASE = "base.html"
LABELLED = re.compile(r'<nav [^>]*aria-label="([^"]*)"')


def test_every_head_of_a_column_has_a_text() -> None:
    assert not [name for name, text in TEXTS.items() if re.search(r"<th[^>]*>\s*</th>", text)]


def test_what_scrolls_is_reached_by_keyboard() -> None:
    wrong = [
        (name, tag)
        for name, text in TEXTS.items()
        for tag in re.findall(r'<pre[^>]*>|<div class="chart-grid"[^>]*>', text)
        if 'tabindex="0"' not in tag
    ]
    assert not wrong


def test_the_navigation_of_every_page_is_called_as_no_other_is() -> None:
    (main,) = LABELLED.findall(TEXTS[BASE])
    others = [LABELLED.findall(text) for name, text in TEXTS.items() if name != BASE]
    assert not [labels for labels in others if main in labels]
