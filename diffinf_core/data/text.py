"""What is refused or shown of names, labels and cells that somebody else wrote; the order of class names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: limits far beyond any real data set, so that a hostile one cannot exhaust the memory
MAX_LABEL, MAX_FILE_NAME, MAX_CELL = 200, 1000, 10_000
#: control characters, surrogates, line and paragraph separators
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
#: bidirectional marks, which reorder the text shown
_BIDIRECTIONAL = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def bad_text(text: str, longest: int) -> str:
    """Why a name, label or cell is refused; empty if it is fine. HTML is fine: pages escape it."""
    if len(text) > longest:
        return f"is longer than {longest} characters"
    if text.isascii() and text.isprintable():
        return ""
    for character in text:
        if character in _BIDIRECTIONAL or unicodedata.category(character) in _INVISIBLE:
            return f"has the control character U+{ord(character):04X}"
    return ""


def shown(name: str) -> str:
    """A name for a message: shortened, without invisible characters."""
    kept = name if len(name) <= 80 else name[:80] + "..."
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in kept)


def alike(labels: Iterable[str]) -> list[list[str]]:
    """Groups of different labels that differ by case, white space or Unicode form alone."""
    groups: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        plain = re.sub(r"\s+", "", unicodedata.normalize("NFKC", label).casefold())
        groups.setdefault(plain, []).append(label)
    return [names for names in groups.values() if len(names) > 1]


def natural_key(text: str) -> tuple[int, float, tuple[tuple[int, str], ...], str]:
    """Sorts numbers by value before all else, and digits inside names by value: 2, 10, img2, img10."""
    number = re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", text, re.ASCII)
    parts = tuple(
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"([0-9]{1,15})", text)
        if part
    )
    return (0, float(text), (), text) if number else (1, 0.0, parts, text)
