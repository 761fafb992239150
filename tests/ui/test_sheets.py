"""The style sheets of the pages, which are loaded together."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

SHEETS = sorted((Path(__file__).parents[2] / "assets" / "ui").glob("*.css"))


def test_no_sheet_styles_what_belongs_to_another_page() -> None:
    """A rule for a class alone applies on every page, so only one sheet may have one."""
    where = defaultdict(set)
    for sheet in SHEETS:
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S)
        for selectors in re.findall(r"([^{}]+)\{", text):
            for name in re.findall(r"(?:^|,)\s*(\.di-[\w-]+)\s*(?=,|$)", selectors):
                where[name].add(sheet.name)
    assert len(where) > 100
    assert not {name: files for name, files in where.items() if len(files) > 1}
