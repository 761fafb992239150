"""Standard output and error that write any text, whatever encoding the terminal or the log file has."""

from __future__ import annotations

import codecs
import contextlib
import sys

#: what takes the place of characters that ASCII and old code pages lack; others are written as \xe9 or \u2026
_PLAIN = {
    "±": "+-", "…": "...", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "×": "x", "→": "->",  # noqa: RUF001
    "←": "<-", "•": "*", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip
_NAME = "diffinf"


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = ""
    for character in error.object[error.start : error.end]:
        one = UnicodeEncodeError(error.encoding, character, 0, 1, error.reason)
        out += _PLAIN.get(character) or str(codecs.backslashreplace_errors(one)[0])
    return out, error.end


def write_anything() -> None:
    """Let standard output and error replace what they cannot encode, rather than fail."""
    codecs.register_error(_NAME, _replaced)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # not so where a program put something of its own there
            with contextlib.suppress(ValueError, OSError):
                reconfigure(errors=_NAME)
