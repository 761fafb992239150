"""Further pictures without labels, from which a generator learns to draw.

A few thousand pictures are memorised by a long training; more of the same kind put that off, and need nobody
to label them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.alike import SLICE, grey_thumbnails, near_duplicates
from diffinf_core.data.copies import scratch_thumbnails, thumbnails_of
from diffinf_core.data.decode import Pixels
from diffinf_core.data.ingest import DATA
from diffinf_core.data.overlay import map_array
from diffinf_core.data.part import run_pictures
from diffinf_core.data.pictures import Framing, decode_all, stats_of
from diffinf_core.data.table import read_table, table_path
from diffinf_core.data.walk import walk
from diffinf_core.diffusion.architecture import Attribute
from diffinf_core.diffusion.conditions import covariate_indices
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_array, write_array
from diffinf_core.runs.pages import drop_pages
from diffinf_core.runs.run import Run, StageFolder

#: version of this stage: raise it when the same folder gives other pictures
_VERSION = 1
_IMAGES, _KEPT, _STAGE = "images.npy", "kept.npy", "unlabelled"
#: column of the table, if there is one, that names the files
_FILE = "file"


@dataclass(frozen=True)
class Unlabelled:
    """Pictures (M, S, S, 3) uint8 at ``rows`` (M,) of the mapped ``pictures``; their covariates (M, K), -1
    where they are not known."""

    pictures: NDArray[np.uint8]
    rows: NDArray[np.int64]
    covariates: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures (B, S, S, 3) at positions."""
        out = np.array(self.pictures[self.rows[positions]])
        drop_pages(self.pictures)
        return out


def unlabelled_files(root: Path) -> list[str]:
    """The names of the pictures below a folder; :class:`DiffInfError` where there are none."""
    if not root.is_dir():
        raise DiffInfError(f"The folder of unlabelled pictures {root} does not exist.")
    files = walk(root).pictures
    if not files:
        raise DiffInfError(f"The folder of unlabelled pictures {root} holds no pictures.")
    return files


def unlabelled_table(root: Path) -> pd.DataFrame | None:
    """The rows of ``labels.csv`` in a folder, one for each file; None without one.

    Raises :class:`DiffInfError` for a table that cannot be read or names no files.
    """
    where = table_path(root, "labels.csv")
    if not where.exists():
        return None
    rows = read_table(where).rows
    if _FILE not in rows:
        raise DiffInfError(
            f"{where} has no column {_FILE!r}; add it, or move the table away: then the covariates of the "
            "unlabelled pictures are unknown."
        )
    # rows that contradict each other say nothing
    return rows.drop_duplicates().drop_duplicates(_FILE, keep=False)


class UnlabelledFolder:
    """The pictures below a folder, decoded once into a stage of the run, which must be locked.

    They are framed and read as the run's own. Left out, and counted, are files that cannot be read or framed,
    and pictures that look like one of the run's, in whatever split, among the 100,000 most alike pairs; what
    lies in the run's folder is passed over. Raises :class:`DiffInfError` where there is no such folder, no
    picture in it, or a table that cannot be used.
    """

    def __init__(self, run: Run, root: Path) -> None:
        self._run, self._root = run, root
        own = run.root.resolve()
        self._files = [
            name
            for name in unlabelled_files(root)
            if not (root / name).resolve().is_relative_to(own)
        ]
        if not self._files:
            raise DiffInfError(f"The folder of unlabelled pictures {root} holds no pictures.")
        self._rows = unlabelled_table(root)

    @cached_property
    def _pixels(self) -> Pixels:
        depth = int(DATA.folder(self._run).figures.get("bit_depth") or 16)
        return Pixels(depth, self._run.config.data.max_megapixels)

    @cached_property
    def _stage(self) -> StageFolder:
        data = self._run.config.data
        how = [data.image_size, data.align, data.one_face, self._pixels.depth]
        files = digest(self._files, stats_of(self._root, self._files))
        return self._run.stage(_STAGE, _VERSION, DATA.key(self._run), how, files)

    @property
    def key(self) -> str:
        """What identifies the pictures and how they were read."""
        return self._stage.key

    def read(self) -> Iterator[Progress]:
        """Decode the pictures, and find those that the run has, unless that is done."""
        stage, data = self._stage, self._run.config.data
        if stage.done:
            return
        decoded = yield from decode_all(
            self._root,
            self._files,
            stage.path,
            data.image_size,
            pixels=self._pixels,
            skip_bad=True,
            framing=Framing(data.one_face) if data.align else None,
        )
        own, further = run_pictures(self._run), map_array(stage / _IMAGES)
        grey = scratch_thumbnails(len(own) + len(further))
        for start in range(0, len(own), SLICE):
            rows = np.arange(start, min(start + SLICE, len(own)))
            grey[rows] = grey_thumbnails(own.read(rows))
        grey[len(own) :] = thumbnails_of(further)
        pairs = pd.DataFrame({"first": [], "second": []})
        for done, total, found in near_duplicates(grey):
            pairs = found
            yield Progress(_STAGE, done, total, "comparing them with the run's pictures")
        first, second = (pairs[name].to_numpy(np.int64) for name in ("first", "second"))
        copies = np.unique(second[(first < len(own)) & (second >= len(own))]) - len(own)
        bad = np.array(sorted(decoded.bad), np.int64)
        copies = np.setdiff1d(copies, bad)
        kept = np.setdiff1d(np.arange(len(self._files)), np.union1d(copies, bad))
        if not len(kept):
            reason = (
                f", such as {self._files[bad[0]]}: {decoded.bad[int(bad[0])]}" if len(bad) else ""
            )
            raise DiffInfError(
                f"None of the pictures in {self._root} can be used: the run has {len(copies)} of them, and "
                f"{len(bad)} cannot be read{reason}."
            )
        write_array(stage / _KEPT, kept)
        stage.finish({"n": len(kept), "known": len(copies), "bad": len(bad)})

    def open(self, columns: Sequence[Attribute]) -> Unlabelled:
        """What :meth:`read` wrote, with the covariates that a table in the folder gives."""
        stage = self._stage
        rows = read_array(stage / _KEPT)
        table = pd.DataFrame({_FILE: self._files}).iloc[rows].reset_index(drop=True)
        if self._rows is not None:
            names = [c.name for c in columns if c.name in self._rows and c.name != _FILE]
            table = table.merge(self._rows[[_FILE, *names]], how="left", on=_FILE).fillna("")
        return Unlabelled(map_array(stage / _IMAGES), rows, covariate_indices(table, columns))

    def figures(self) -> dict[str, int]:
        """How many pictures are used, as ``n``, how many the run has (``known``) and how many cannot be
        read (``bad``)."""
        figures = self._stage.figures
        return {name: int(figures[name]) for name in ("n", "known", "bad")}
