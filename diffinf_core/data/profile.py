"""What a source of pictures brings with it: its columns, its class order, its networks, what is known.

Every other room asks :func:`profile_of` and never for the name of the source. A new source is a
factory and a line in :data:`SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.demo import write_demo_faces
from diffinf_core.data.sources import packed_source
from diffinf_core.data.sources.unpacked import MARK
from diffinf_core.records import Progress
from diffinf_core.runs.run import Run


@dataclass(frozen=True)
class ShippedJudge:
    """A judge that is not trained on the run's own pictures.

    ``weights`` is the name of the shipped file; ``heads`` holds the classes of each of its outputs, in
    the order it was trained in, and ``head`` is the one for this data set.
    """

    weights: str
    description: str
    heads: tuple[tuple[str, ...], ...]
    head: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the head in use."""
        return self.heads[self.head]


@dataclass(frozen=True)
class Profile:
    """One data set as every stage sees it.

    ``folder`` holds the pictures and the table ``labels``; None where ``render`` writes them into the
    run's own folder, which is done when it holds the file ``rendered``. ``classes`` is their order, None for
    the sorted names. ``group_column`` names the pictures that must stay together in splits and folds.
    ``hidden`` columns of the source are withheld from every stage, because they tell which labels are
    wrong; those in ``test_columns`` are shown for the test split alone. ``truth_known``: the labels of
    the source are known to be right, and so are those of the test split if ``clean_test``. ``generator``
    names a shipped file; ``perceptors`` maps identity and parsing to the network that "auto" stands for.
    """

    name: str
    folder: Path | None
    labels: str
    label_column: str
    group_column: str | None = None
    classes: tuple[str, ...] | None = None
    hidden: frozenset[str] = frozenset()
    test_columns: tuple[str, ...] = ()
    truth_known: bool = False
    clean_test: bool = False
    render: Callable[[Path], Iterator[Progress]] | None = None
    rendered: str | None = None
    generator: str | None = None
    judge: ShippedJudge | None = None
    perceptors: Mapping[str, str] = field(default_factory=dict)


def rendered_faces(data: DataConfig) -> Profile:
    """The embedded data set: rendered faces labelled by expression or age, every truth known."""
    attributes = {"expression": faces.EXPRESSIONS, "age": faces.AGES}
    names = tuple(attributes)
    (other,) = (name for name in names if name != data.attribute)
    return Profile(
        name="Rendered faces",
        folder=None,
        rendered="labels.csv",
        labels="labels.csv",
        label_column=data.attribute,
        group_column="identity",
        classes=data.classes or attributes[data.attribute],
        # the other attribute tells on its own which label of this one was made wrong
        hidden=frozenset({*names, "intensity", "age_value", "parts"}),
        test_columns=(other,),
        truth_known=True,
        clean_test=True,
        render=partial(
            write_demo_faces, count=data.demo_faces, seed=data.seed, size=data.image_size
        ),
        generator="generator",
        judge=ShippedJudge(
            weights="judge",
            description="shipped demo judge, trained on the clean truth of other rendered people",
            heads=tuple(attributes.values()),
            head=names.index(data.attribute),
        ),
        perceptors=dict.fromkeys(("identity", "parsing"), "demo"),
    )


def user_folder(data: DataConfig) -> Profile:
    """A user's pictures: labels as given, networks trained on them or published ones."""
    source = packed_source(data)
    return Profile(
        name=str(data.path),
        folder=None if source else data.path,
        render=source.unpack if source else None,
        rendered=MARK if source else None,
        labels=data.labels,
        label_column=data.label_column,
        group_column=data.group_column,
        classes=data.classes,
    )


#: the factory of each value of ``data.source``
SOURCES: Mapping[str, Callable[[DataConfig], Profile]] = {
    "demo": rendered_faces,
    "folder": user_folder,
}


def profile(data: DataConfig) -> Profile:
    """The profile of a data section."""
    return SOURCES[data.source](data)


def profile_of(run: Run) -> Profile:
    """The profile of a run's data set."""
    return profile(run.config.data)
