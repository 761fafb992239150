"""A folder per class, as torchvision's ImageFolder and its relatives read it.

They number the classes alphabetically. Where that is not the order of the run, the folders' names begin
with the number, so that targets are the run's label indices.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import lru_cache

from diffinf_core.export.formats.format import Format, Layout
from diffinf_core.export.names import class_folders, relative, without
from diffinf_core.export.plan import Picture, Plan
from diffinf_core.records import Progress

_SPLITS = ("train", "val", "valid", "validation", "test", "images")


@lru_cache(maxsize=4)
def _folders(classes: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(classes, class_folders(classes), strict=True))


def _place(picture: Picture, plan: Plan) -> str:
    folder = _folders(plan.classes)[picture.label]
    above = [picture.split] if plan.options.splits == "all" else []
    name = without(relative(picture.file), {*_SPLITS, picture.assigned})
    return posixpath.join(*above, folder, name)


def _every_class(layout: Layout) -> Iterator[Progress]:
    """A class without pictures keeps its folder, or the numbers of those behind it would change."""
    plan = layout.plan
    for split in plan.split_names if plan.options.splits == "all" else [""]:
        for folder in _folders(plan.classes).values():
            (layout.root / split / folder).mkdir(parents=True, exist_ok=True)
    yield Progress("export", 1, 1, "class folders")


IMAGEFOLDER = Format(
    "imagefolder",
    "a folder per class, numbered as in the run",
    'torchvision.datasets.ImageFolder(".")  # "train", "val", "test" where all splits were exported',
    _place,
    write=_every_class,
    known=True,
)
