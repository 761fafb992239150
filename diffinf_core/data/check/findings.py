"""What a check says about a data set: each finding with its count, examples, and what a run does."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.config import RunConfig
from diffinf_core.data.check.measure import Measured
from diffinf_core.data.check.result import Example, Finding, Level
from diffinf_core.data.copies import Copies, cut
from diffinf_core.data.decode import Pixels, decode
from diffinf_core.data.folder import Listing
from diffinf_core.data.framing import NO_FACE, SEVERAL_FACES, TOO_TIGHT, read_framed
from diffinf_core.data.text import shown
from diffinf_core.records import DiffInfError

#: side of an example in pixels, and how many a finding shows and names
SIDE, SHOWN, NAMED = 96, 6, 50
#: levels of 255 by which the thumbnail of a picture of one colour varies at most
_FLAT = 2
#: a picture whose longer side is so many times the shorter loses a third of it to the crop
_LONG = 1.5


class Album:
    """Makes examples of the pictures below ``root``."""

    def __init__(self, root: Path, pixels: Pixels, align: bool = False) -> None:
        self._root, self._pixels, self._align = root, pixels, align

    def example(self, file: str, caption: str | None = None) -> Example:
        """A file as a run sees it; without a picture where it cannot be read."""
        out, text = io.BytesIO(), shown(file) if caption is None else caption
        try:
            square = self._square(self._root / file)
        except DiffInfError:
            return Example(text)
        Image.fromarray(square).save(out, "JPEG", quality=80)
        return Example(text, out.getvalue())

    def _square(self, path: Path) -> NDArray[np.uint8]:
        if self._align:
            with suppress(DiffInfError):  # one without a face is shown as it is
                return read_framed(path, SIDE, self._pixels).picture
        return decode(path, SIDE, self._pixels)

    def rows(self, files: Iterable[Sequence[str]]) -> list[list[Example]]:
        """A row of examples for each of the first groups of files."""
        return [[self.example(file) for file in group] for group in islice(files, SHOWN)]


@dataclass(frozen=True)
class Seen:
    """Everything that the findings are made from; ``parts`` is the split of each file that gets one."""

    config: RunConfig
    listing: Listing
    measured: Measured
    copies: Copies
    parts: Mapping[str, str]

    @property
    def labels(self) -> dict[str, str]:
        """The label of each file."""
        return {row.file: row.label for row in self.listing.rows}


def findings(seen: Seen, album: Album) -> Iterator[Finding]:
    """The findings about rows, files, faces, pictures and copies."""
    yield from _bad(seen, album)
    yield from _several(seen, album)
    yield from _left_out(seen)
    yield from _copies(seen, album)
    yield from _pictures(seen, album)
    for remark in seen.listing.remarks:
        yield Finding(remark, 0, "note", "")


def _bad(seen: Seen, album: Album) -> Iterator[Finding]:
    skip = seen.config.data.skip_bad
    level: Level = "warning" if skip else "refused"
    rest = "A run leaves them out and counts them (data.skip_bad)."
    if problems := seen.listing.problems:
        lines = [str(p) for p in problems[:NAMED]]
        action = "A run refuses them: mend them, or go on without them by --skip-bad."
        yield Finding("Bad rows", len(problems), level, rest if skip else action, lines)
    bad = seen.measured.bad_files
    faceless = {f: why for f, why in bad.items() if why == NO_FACE or why.startswith(SEVERAL_FACES)}
    for title, some, mend in (
        ("Unreadable pictures", bad.keys() - faceless.keys(), "repair or remove them"),
        (
            "Pictures without a face",
            faceless.keys(),
            "remove them, take all as they are (data.align=false)",
        ),
    ):
        if some:
            files = [file for file in bad if file in some]
            lines = [f"{shown(file)}: {bad[file]}" for file in files[:NAMED]]
            action = f"A run refuses them: {mend}, or go on without them by --skip-bad."
            rows = (
                [[album.example(file) for file in files[:SHOWN]]]
                if faceless and some <= faceless.keys()
                else []
            )
            yield Finding(title, len(files), level, rest if skip else action, lines, rows)


def _several(seen: Seen, album: Album) -> Iterator[Finding]:
    measured = seen.measured
    kinds = (
        (
            "Pictures with several faces",
            measured.faces > 1,
            lambda i: f"{measured.faces[i]} faces",
            "The largest face of each is used; data.one_face=true leaves such pictures out.",
        ),
        (
            "Pictures that end within FFHQ's framing",
            measured.beyond > TOO_TIGHT,
            lambda i: f"{measured.beyond[i]:.0%} beyond the border",
            f"More than {TOO_TIGHT:.0%} of each is made up: mirrored and blurred. Where they are crops of "
            "faces already, set data.align=false.",
        ),
    )
    for title, which, words, action in kinds:
        rows = np.flatnonzero(which)
        if len(rows):
            files = [measured.files[i] for i in rows[:NAMED]]
            lines = [f"{shown(f)}: {words(i)}" for i, f in zip(rows, files, strict=False)]
            some = [[album.example(file) for file in files[:SHOWN]]]
            yield Finding(title, len(rows), "warning", action, lines, some)


def _left_out(seen: Seen) -> Iterator[Finding]:
    listing = seen.listing
    if n := sum(listing.lost.values()):
        lines = [f"{count:,} {kind}" for kind, count in listing.lost.items()]
        yield Finding(
            "Files of kinds that are not read",
            n,
            "warning",
            "They are left out: convert them to PNG or JPEG; .heic needs: pip install 'diffinf-core[heic]'.",
            lines,
        )
    if listing.unlabelled:
        action = (
            "They are left out: name them in the table, or move them to the folder of their class."
        )
        yield Finding("Pictures without a label", listing.unlabelled, "warning", action)


def _copies(seen: Seen, album: Album) -> Iterator[Finding]:
    copies, labels = seen.copies, seen.labels
    together = seen.config.split.copies == "together"
    where = (
        "They stay in one split (split.copies=together)."
        if together
        else "They may fall into different splits; --set split.copies=together keeps them in one."
    )
    if copies.exact:
        n = sum(map(len, copies.exact))
        lines = [", ".join(map(shown, group[:SHOWN])) for group in copies.exact[:NAMED]]
        rows = album.rows([group[:SHOWN] for group in copies.exact])
        yield Finding("Equal files", n, "warning", f"All are used. {where}", lines, rows)
    if copies.near:
        lines = [f"{shown(a)}, {shown(b)}: correlation {r:.3f}" for a, b, r in copies.near[:NAMED]]
        rows = album.rows(pair[:2] for pair in copies.near)
        action = f"All are used. {where}"
        yield Finding(
            "Pairs of pictures that look alike", len(copies.near), "note", action, lines, rows
        )
    pairs = copies.pairs()
    differ = [(a, b) for a, b in pairs if a in labels and b in labels and labels[a] != labels[b]]
    if differ:
        lines = [f"{shown(a)} is {labels[a]}, {shown(b)} is {labels[b]}" for a, b in differ[:NAMED]]
        rows = [
            [album.example(f, f"{labels[f]}: {shown(f)}") for f in pair] for pair in differ[:SHOWN]
        ]
        action = (
            "Both labels stay, and one of each pair is likely to be wrong: correct it in the data set, or "
            "decide in the review, where Explore shows such pairs."
        )
        yield Finding("Copies with different labels", len(differ), "warning", action, lines, rows)
    if apart := cut(copies, seen.parts):
        lines = [
            f"{shown(a)} in {seen.parts[a]}, {shown(b)} in {seen.parts[b]}"
            for a, b in apart[:NAMED]
        ]
        action = (
            "A given split stands, and of many pictures that look alike only small groups stay together: "
            "figures on the test split are too good by these. Remove one of each pair."
            if together
            else "Figures on the test split are too good by these; --set split.copies=together keeps copies "
            "in one split."
        )
        rows = album.rows(apart)
        yield Finding("Copies in different splits", len(apart), "warning", action, lines, rows)


def _pictures(seen: Seen, album: Album) -> Iterator[Finding]:
    measured, size = seen.measured, seen.config.data.image_size
    read = measured.digests.any(1)
    short, long = measured.sides.min(1, initial=1 << 30), measured.sides.max(1, initial=0)
    flat = _flat(measured.grey)
    kinds: tuple[tuple[str, NDArray[np.bool_], Level, str], ...] = (
        ("Pictures of one colour", flat, "warning", "They are used; remove what shows nothing."),
        (
            f"Pictures smaller than {size} pixels",
            short < size,
            "note",
            f"They are enlarged to data.image_size={size}; a smaller one makes up no pixels.",
        ),
        (
            "Long pictures",
            long > _LONG * short,
            "note",
            "The square in the middle is used, and more than a third of each is cut off.",
        ),
    )
    for title, which, level, action in kinds:
        rows = np.flatnonzero(which & read)
        if len(rows):
            files = [measured.files[i] for i in rows[:NAMED]]
            shown_rows = [[album.example(file) for file in files[:SHOWN]]]
            yield Finding(title, len(rows), level, action, list(map(shown, files)), shown_rows)
    if measured.highest is not None:
        bits = measured.pixels.depth
        action = f"They are read as {bits} bits; data.bit_depth sets another depth."
        title = f"Files of 16 bits per value use values up to {measured.highest:,}"
        yield Finding(title, 0, "note", action)


def _flat(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    out = np.zeros(len(grey), bool)
    for start in range(0, len(grey), 1024):
        part = np.asarray(grey[start : start + 1024])
        out[start : start + 1024] = part.max((1, 2)) - part.min((1, 2)) <= _FLAT
    return out
