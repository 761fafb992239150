"""Which file a table means: names that differ by spelling alone are matched where that is unique."""

from __future__ import annotations

import difflib
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from diffinf_core.data.text import shown

#: "did you mean" is worked out for so many names, and compares with so many files
_HINTS, _COMPARED = 20, 5000


def _form(name: str) -> str:
    return posixpath.normpath(unicodedata.normalize("NFC", name.replace("\\", "/")))


def _case(name: str) -> str:
    # folding may leave a name decomposed
    return unicodedata.normalize("NFC", _form(name).casefold())


def _stem(name: str) -> str:
    return posixpath.splitext(_case(name))[0]


#: from the strictest to the loosest; the last also compares a name without suffix to the files' stems
_LEVELS: tuple[tuple[str, Callable[[str], str], Callable[[str], str]], ...] = (
    ("Unicode form or slashes", _form, _form),
    ("case", _case, _case),
    ("a missing suffix", _stem, _case),
)


class FileNames:
    """The files of a folder, by the names that a table gives them; ``present`` is relative to ``root``.

    ``matched`` counts the names that were not the files' own, by how they differ.
    """

    def __init__(self, root: Path, present: Collection[str]) -> None:
        self.root, self.present = root, present
        self.matched: Counter[str] = Counter()
        self._bases = (os.path.abspath(root), os.path.realpath(root))  # noqa: PTH100
        self._indices: dict[int, dict[str, list[str]]] = {}
        self._hints = 0

    def own(self, name: str) -> str | None:
        """The name relative to the folder; None for one that leads out of it. Links are not followed."""
        path = os.path.normpath(os.path.join(self._bases[0], name))  # noqa: PTH118
        for base in self._bases:
            if path.startswith(base + os.sep):
                return os.path.relpath(path, base).replace(os.sep, "/")
        return None

    def find(self, name: str) -> str | None:
        """The one file that a name means, relative to the folder; None where there is none or several."""
        own = self.own(name)
        for level, (what, of_file, of_name) in enumerate(_LEVELS):
            files = self._index(level, of_file).get(of_name(own or name), [])
            if len(files) == 1:
                self.matched[what] += 1
                return files[0]
            if files:
                return None
        return None

    def why_not(self, name: str) -> str:
        """The reason for a name that :meth:`find` has no file for, with what may have been meant."""
        own = self.own(name) or name
        for level, (_, of_file, of_name) in enumerate(_LEVELS):
            files = self._index(level, of_file).get(of_name(own), [])
            if len(files) > 1:
                return (
                    f"could be {' or '.join(shown(f) for f in files[:3])}; write it as one of them"
                )
        hint = self._hint(own)
        return "no such file" + (f"; did you mean {shown(hint)!r}?" if hint else "")

    def _index(self, level: int, key: Callable[[str], str]) -> dict[str, list[str]]:
        if level not in self._indices:
            index: dict[str, list[str]] = {}
            for file in sorted(self.present):
                index.setdefault(key(file), []).append(file)
            self._indices[level] = index
        return self._indices[level]

    def _hint(self, name: str) -> str | None:
        self._hints += 1
        if self._hints > _HINTS:
            return None
        last = posixpath.basename(_case(name))
        same = [file for file in self.present if posixpath.basename(_case(file)) == last]
        if len(same) == 1:
            return same[0]
        if len(self.present) > _COMPARED:
            return None
        close = difflib.get_close_matches(name, sorted(self.present), 1, 0.85)
        return close[0] if close else None
