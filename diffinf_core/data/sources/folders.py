"""One sub-folder per class, with folders of splits above or below them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing, Problem, Row, needs_table
from diffinf_core.data.sources.base import Source
from diffinf_core.data.split import split_named
from diffinf_core.data.text import MAX_FILE_NAME, MAX_LABEL, bad_text
from diffinf_core.records import DiffInfError


@dataclass(frozen=True)
class Layout:
    """How the folders of a data set stand: ``wrapper`` folders above everything, splits, classes.

    ``split_level`` and ``class_level`` are positions in a name's parts; None where there are no splits.
    """

    wrapper: tuple[str, ...]
    class_level: int
    split_level: int | None = None
    splits: tuple[str, ...] = ()

    def describe(self) -> str:
        """What the folders were taken for."""
        below = f" below {'/'.join(self.wrapper)}/" if self.wrapper else ""
        if self.split_level is None:
            return f"one folder per class{below}"
        where = "above" if self.split_level < self.class_level else "inside"
        return f"splits {', '.join(self.splits)} {where} class folders{below}"

    def read(self, name: str) -> tuple[str, str]:
        """(class, split) of a picture; the class is empty where it lies above the class folders.

        The split is empty where none is given.
        """
        parts = name.split("/")[:-1]
        if len(parts) <= self.class_level or tuple(parts[: len(self.wrapper)]) != self.wrapper:
            return "", ""
        if self.split_level is None:
            return parts[self.class_level], ""
        split = split_named(parts[self.split_level]) if len(parts) > self.split_level else None
        return (parts[self.class_level], split) if split else ("", "")


def layout_of(names: Sequence[str]) -> Layout | None:
    """The layout of pictures by their names; None where no folder could be a class.

    A folder of splits is one only if every folder of its level has such a name, or if ``train`` and another
    split stand among them: a class may be called "train". Raises :class:`DiffInfError` for split folders with
    pictures right inside, which have no classes.
    """
    parts = [name.split("/")[:-1] for name in names]
    wrapper: tuple[str, ...] = ()
    while True:
        level = len(wrapper)
        inner = [p for p in parts if len(p) > level and tuple(p[:level]) == wrapper]
        tops = {p[level] for p in inner}
        if not tops:
            return None
        deeper = any(len(p) > level + 1 for p in inner)
        if len(tops) == 1 and deeper and len(inner) == len(parts):
            (only,) = tops
            if all(len(p) > level + 1 for p in inner):  # a folder around everything
                wrapper = (*wrapper, only)
                continue
        break
    named = {top for top in tops if split_named(top)}
    kinds = {split_named(top) for top in named}
    if named and (named == tops or ("train" in kinds and len(kinds) > 1)):
        within = [p for p in inner if p[level] in named]
        if any(len(p) > level + 1 for p in within):
            return Layout(wrapper, level + 1, level, tuple(sorted(named)))
        if named == tops and len(tops) > 1:
            raise DiffInfError(
                f"The folders {', '.join(sorted(tops))} are splits, and pictures lie right inside them: make "
                "a folder per class in each, or name the labels in a table."
            )
    below = {p[level + 1] for p in inner if len(p) > level + 1}
    bare = any(len(p) == level + 1 for p in inner)
    both = {split_named(name) for name in below} >= {"train", "test"} or not bare
    if below and both and all(split_named(name) for name in below):
        return Layout(wrapper, level, level + 1, tuple(sorted(below)))
    return Layout(wrapper, level)


class ClassFolders(Source):
    """Pictures in one sub-folder per class, at any depth; folders of splits above or below are honoured."""

    name = "folders"
    about = "one sub-folder per class, with train, val and test above or inside them"

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """Any folder that holds folders; the guess of last resort."""
        return config.path is not None and config.path.is_dir()

    def read(self) -> Listing:
        """See :meth:`Source.read`."""
        contents, config = self.walk(), self.config
        needs_table(config, self.root)
        layout = layout_of(contents.pictures)
        if layout is None:
            raise DiffInfError(
                f"{self.root} has neither {config.labels} (columns file, {config.label_column}) "
                "nor one sub-folder per class."
            )
        rows: list[Row] = []
        problems = [Problem(None, name, _OUTSIDE) for name in contents.outside]
        problems += [Problem(None, name, _BROKEN) for name in contents.broken]
        unlabelled, beside = 0, Counter[str]()
        for name in contents.pictures:
            label, split = layout.read(name)
            if not label:
                unlabelled += 1
                if layout.split_level is not None and "/" in name:
                    beside[name.rpartition("/")[0]] += 1
                continue
            reason = self._reason(name, label)
            if reason:
                problems.append(Problem(None, name, reason))
            else:
                rows.append(Row(name, label, {}, split))
        remarks = tuple(
            f"{n:,} pictures in {folder}/ belong to no split and are left out."
            for folder, n in sorted(beside.items())
        )
        return self.listing(rows, problems, unlabelled, layout.describe(), contents, remarks)

    def _reason(self, name: str, label: str) -> str:
        wrong = bad_text(name, MAX_FILE_NAME) or bad_text(label, MAX_LABEL)
        if wrong:
            return f"the name {wrong}"
        if self.config.classes and label not in self.config.classes:
            return f"folder {label!r} is not a class"
        return ""


_OUTSIDE = "lies outside the data folder; data.outside_links=true follows it"
_BROKEN = "a link that leads nowhere, or back to a folder that holds it"
