"""What every kind of data set is to the rest: recognised by its files, listed, opened picture by picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

import pandas as pd

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing, Problem, Row, inside
from diffinf_core.data.text import natural_key
from diffinf_core.data.walk import Contents, walk
from diffinf_core.records import DiffInfError, Progress


class Source(ABC):
    """One kind of data set; a new one is a class and a line in :data:`diffinf_core.data.sources.SOURCES`.

    ``name`` is the prefix under which it can be asked for (``hf:FOLDER``), ``about`` says what it is.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    def __init__(self, config: DataConfig) -> None:
        assert config.path is not None
        self.config, self.root = config, config.path

    @classmethod
    @abstractmethod
    def recognises(cls, config: DataConfig) -> bool:
        """Whether ``config.path`` looks like this kind; cheap, and never an error."""

    @abstractmethod
    def read(self) -> Listing:
        """Rows, problems and remarks, no picture decoded.

        Raises :class:`DiffInfError` where nothing can be listed at all.
        """

    def samples(self) -> pd.DataFrame:
        """Columns file, label, split (empty where none is given), and those that the data set came with."""
        rows = self.read().rows
        ours = {
            "file": [row.file for row in rows],
            "label": [row.label for row in rows],
            "split": [row.split for row in rows],
        }
        given = pd.DataFrame([row.extra for row in rows], dtype=str)
        return pd.DataFrame(ours).join(given, rsuffix="_given")

    def open(self, file: str) -> BinaryIO:
        """A picture's bytes, by its name in :meth:`samples`."""
        path = inside(self.root, file, self.config.outside_links)
        if path is None:
            raise DiffInfError(f"{file} lies outside the data folder {self.root}.")
        return open(path, "rb")

    def tables(self) -> list[Path]:
        """The files that hold the labels, which are withheld from what must not know them."""
        return []

    # ------------------------------------------------------------ for those that are folders

    def walk(self) -> Contents:
        """The folder's contents; :class:`DiffInfError` where there is no folder, or no picture in it."""
        if not self.root.exists():
            raise DiffInfError(f"The folder {self.root} does not exist.")
        if not self.root.is_dir():
            raise DiffInfError(f"{self.root} is not a folder.")
        found = walk(self.root, self.config.outside_links)
        if not found.pictures:
            remarks = " ".join(found.remarks())
            raise DiffInfError(
                f"The folder {self.root} holds no pictures"
                + (f": {remarks}" if found.lost else ".")
            )
        return found

    def listing(
        self,
        rows: list[Row],
        problems: list[Problem],
        unlabelled: int,
        taken_for: str,
        contents: Contents,
        remarks: tuple[str, ...] = (),
        order: tuple[str, ...] | None = None,
    ) -> Listing:
        """What :meth:`read` returns; ``order`` is that of the classes unless the configuration has one."""
        labels = {row.label for row in rows}
        wanted = self.config.classes or order
        classes = [c for c in wanted if c in labels] if wanted else sorted(labels, key=natural_key)
        return Listing(
            self.root,
            rows,
            problems,
            classes,
            unlabelled,
            taken_for,
            (*remarks, *contents.remarks()),
            contents.lost,
        )


class PackedSource(Source):
    """A source whose pictures lie in files of their own; it is unpacked, and read as another one."""

    def read(self) -> Listing:
        """Not before it is unpacked."""
        raise DiffInfError(f"{self.root} has to be unpacked: set data.kind={self.name}.")

    @abstractmethod
    def unpack(self, target: Path) -> Iterator[Progress]:
        """Write pictures and labels to ``target``, a folder that another source reads, whole or not at all.

        Raises :class:`DiffInfError` that names what cannot be unpacked.
        """
