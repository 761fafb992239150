"""What an export holds, decided before anything is written: each picture, its label and its lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from diffinf_core.data.decode import Pixels
from diffinf_core.data.ingest import DATA, source_folder
from diffinf_core.data.lineage import ancestors, earlier_edits
from diffinf_core.data.part import Part, open_training, open_validation
from diffinf_core.data.split import TRAIN, VAL
from diffinf_core.data.truth import open_truth
from diffinf_core.records import Decision, DiffInfError, RefinedSample, RefinedSet, Subset
from diffinf_core.review.refine import refined_set
from diffinf_core.runs.run import Run

Edits = Literal["full", "like-original", "working"]
#: how edits are written: the change on the original at its size, lossless or encoded as the original was;
#: or the edit itself at the run's working size
EDITS: tuple[Edits, ...] = get_args(Edits)
#: which splits are written: the training split as it was reviewed, or all
SPLITS = ("train", "all")
#: columns of the table of every export; those of the data set follow
COLUMNS = ("file", "label", "assigned_label", "source", "id", "split", "original")


@dataclass(frozen=True)
class ExportOptions:
    """How to export; see the constants of this module and :mod:`diffinf_core.export.formats`.

    ``undecided`` is what becomes of edited samples on which nobody has decided, see
    :func:`diffinf_core.review.refine.refine`; ``audit`` whether the shortcut audit is made first,
    ``comments`` whether reviewers' comments are written into the manifest, ``subset`` the only training
    samples to write.
    Raises :class:`DiffInfError` for a value that none knows.
    """

    format: str = "csv"
    undecided: str = "original"
    splits: str = "train"
    edits: str = "full"
    audit: bool = False
    comments: bool = False
    #: the samples of a tag or view, where only these are written
    subset: Subset | None = None

    def __post_init__(self) -> None:
        if self.subset is not None and self.splits != "train":
            raise DiffInfError(
                f"{self.subset.name} is a part of the training split; export it with splits 'train'."
            )
        for name, given, known in (("splits", self.splits, SPLITS), ("edits", self.edits, EDITS)):
            if given not in known:
                raise DiffInfError(f"{name} must be one of {', '.join(known)}, not {given!r}.")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of an export.

    ``file`` is its name in the data set. ``edits`` are the folders of the versions whose changes it shows,
    oldest first; empty for an original.
    """

    id: str
    file: str
    split: str
    label: str
    assigned: str
    source: str
    edits: tuple[Path, ...] = ()
    decision: Decision | None = None

    @property
    def changed(self) -> bool:
        """Whether it is not as the data set came."""
        return self.source != "original"


@dataclass(frozen=True)
class Plan:
    """Everything an export holds; ``columns`` are the data set's own, a row per picture."""

    run: Run
    options: ExportOptions
    refined: RefinedSet
    pictures: Sequence[Picture]
    columns: pd.DataFrame

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the run."""
        return self.refined.classes

    @cached_property
    def source(self) -> Path:
        """The folder of the original pictures."""
        return source_folder(self.run)

    @property
    def size(self) -> int:
        """The run's working size in pixels."""
        return self.run.config.data.image_size

    @cached_property
    def pixels(self) -> Pixels:
        """How the run read its pictures; what it has taken is not too large here."""
        return Pixels(int(DATA.folder(self.run).figures.get("bit_depth", 16)), math.inf)

    @property
    def split_names(self) -> list[str]:
        """The splits that it has, in their usual order."""
        present = {picture.split for picture in self.pictures}
        return [name for name in ("train", "val", "test") if name in present]


def make_plan(run: Run, options: ExportOptions) -> Plan:
    """The plan of an export of a run as it stands now."""
    refined = refined_set(run, options.undecided)
    if options.subset is not None:
        refined = refined.only(options.subset.samples)
    train = open_training(run)
    # what stood for each sample when each later round began
    stood = [earlier_edits(round_) for round_ in ancestors(run)[1:]]
    pictures = [_trained(sample, stood) for sample in refined.kept]
    tables = [train.table.set_index("id").loc[[p.id for p in pictures]].reset_index()]
    if options.splits == "all":
        for part, name in _others(run):
            files = part.table["file"].tolist()
            labels = [part.classes[i] for i in part.labels.tolist()]
            pictures += [
                Picture(str(i), file, name, label, label, "original")
                for i, file, label in zip(part.ids, files, labels, strict=True)
            ]
            tables.append(part.table)
    columns = pd.concat(tables, ignore_index=True).drop(columns=["id", "file", "label"])
    return Plan(run, options, refined, pictures, _free(columns))


def _others(run: Run) -> list[tuple[Part, str]]:
    held_out = open_truth(run, "export").test()
    return [(open_validation(run), VAL), (held_out, "test")]


def _free(columns: pd.DataFrame) -> pd.DataFrame:
    """Columns under names that the export's own do not have."""
    names: dict[str, str] = {}
    taken = {*COLUMNS, "file_name", "image"}
    for name in columns.columns:
        free = str(name)
        while free in taken:
            free += "_given"
        taken.add(free)
        names[name] = free
    return columns.rename(columns=names)


def _trained(sample: RefinedSample, stood: Sequence[Mapping[str, Path]]) -> Picture:
    folders: tuple[Path, ...] = ()
    if sample.edit is not None:
        before = [edits[sample.id] for edits in stood if sample.id in edits]
        folders = tuple(dict.fromkeys([*before, sample.edit.folder]))
    return Picture(
        sample.id,
        sample.file,
        TRAIN,
        sample.label,
        sample.assigned,
        sample.source,
        folders,
        sample.decision,
    )
