"""What lies in a folder: its pictures, and a count of everything that is passed over.

Hidden and system files are skipped, links are followed where they stay inside, and nothing disappears
without a count: ``.ipynb_checkpoints`` in a class folder is no class, and a linked class that leads out of
the data folder is named.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from diffinf_core.data.kinds import OTHER_PICTURES, is_candidate, left_out_kind

#: folders and files that operating systems, archivers and network drives leave behind
_SYSTEM_FOLDERS = {
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found",
    "__pycache__",
}  # fmt: skip
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
#: kinds that are no data but belong to a data set; they are counted like all others
_FILM = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"}


@dataclass
class Contents:
    """What a walk over a folder gives; names are relative to it, with forward slashes.

    ``pictures`` are sorted. ``skipped`` counts hidden and system files, those inside such folders
    included; ``left_out`` counts other files by kind, such as ``.heic``; ``outside`` names links that lead
    out of the folder and were not followed; ``broken`` links to nothing or to a folder that holds them.
    """

    pictures: list[str] = field(default_factory=list)
    skipped: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    outside: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def lost(self) -> dict[str, int]:
        """Those kinds of ``left_out`` that are pictures or films, and so may be missed."""
        kinds = OTHER_PICTURES | _FILM
        return {kind: n for kind, n in sorted(self.left_out.items()) if kind in kinds}

    def remarks(self) -> list[str]:
        """A sentence for each kind of file that is not used."""
        out = []
        if self.skipped:
            out.append(f"{_count(self.skipped, 'hidden or system file')} skipped.")
        rest = {k: n for k, n in sorted(self.left_out.items()) if k not in self.lost}
        for what, kinds in (("left out", self.lost), ("that are no pictures", rest)):
            if kinds:
                named = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())
                out.append(f"{_count(len(kinds), 'kind')} {what}: {named}.")
        return out


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def is_system(name: str, folder: bool) -> bool:
    """Whether a name is hidden, or one that a system leaves behind."""
    if name.startswith("."):
        return True
    return name.lower() in (_SYSTEM_FOLDERS if folder else _SYSTEM_FILES)


def walk(root: Path, outside: bool = False) -> Contents:
    """The contents of a folder, links followed inside it; with ``outside`` also those that lead out."""
    found = Contents()
    base = os.path.realpath(root)
    _enter(os.fspath(root), "", base, (base,), outside, found)
    found.pictures.sort()
    return found


def _enter(
    folder: str, prefix: str, base: str, above: tuple[str, ...], outside: bool, found: Contents
) -> None:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        name = prefix + entry.name
        try:
            is_folder = entry.is_dir()
            if is_system(entry.name, is_folder):
                real_folder = is_folder and not entry.is_symlink()
                found.skipped += _files_below(entry.path) if real_folder else 1
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else ""
            if real and not (outside or real == base or real.startswith(base + os.sep)):
                found.outside.append(name)
            elif is_folder:
                here = os.path.realpath(entry.path)
                if real and here in above:
                    found.broken.append(name)  # the walk would not end
                else:
                    _enter(entry.path, name + "/", base, (*above, here), outside, found)
            elif not entry.is_file():
                if real:
                    found.broken.append(name)
            elif is_candidate(entry.path):
                found.pictures.append(name)
            else:
                found.left_out[left_out_kind(entry.path)] += 1
        except OSError:  # it cannot be opened, or a link leads in a circle
            found.broken.append(name)


def _files_below(folder: str) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))
