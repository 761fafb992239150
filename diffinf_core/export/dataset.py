"""Refined data sets for PyTorch: a run as it stands, or what was exported from one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from diffinf_core.data.decode import decode, open_upright
from diffinf_core.data.part import open_training, to_tensor
from diffinf_core.export.folder import COLUMNS
from diffinf_core.records import DiffInfError
from diffinf_core.review.refine import refined_set
from diffinf_core.review.training_set import refined_training
from diffinf_core.runs.cells import readable
from diffinf_core.runs.files import file_digest, read_json
from diffinf_core.runs.run import CONFIG_FILE, Run


@dataclass(frozen=True)
class Export:
    """An exported data set.

    ``table`` has the columns file, label, assigned_label, source (original, repaired or relabelled) and id,
    a row per picture; ``manifest`` the lineage of each picture, and what became of the others.
    """

    root: Path
    table: pd.DataFrame
    manifest: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the run."""
        return tuple(self.manifest["classes"])

    @property
    def files(self) -> list[Path]:
        """The path of each picture."""
        return [self.root / name for name in self.table["file"]]

    def verify(self) -> None:
        """Compare every picture with its SHA-256, and the count with the size equation of D'.

        Raises :class:`DiffInfError` that names the first thing that differs.
        """
        entries = {entry["file"]: entry for entry in self.manifest["samples"]}
        if list(entries) != self.table["file"].tolist():
            raise DiffInfError(
                f"{self.root}: labels.csv and manifest.json list different pictures."
            )
        for row in self.table.itertuples():
            entry, file = entries[row.file], self.root / str(row.file)
            if not file.is_file():
                raise DiffInfError(f"{file} is missing.")
            if file_digest(file) != entry["sha256"]:
                raise DiffInfError(f"{file} was changed after the export.")
            if row.label != entry["label"]:
                raise DiffInfError(
                    f"{self.root}: {row.file} is {row.label!r} in labels.csv and {entry['label']!r} in "
                    "manifest.json."
                )
        beside = {p.relative_to(self.root).as_posix() for p in (self.root / "images").glob("*")}
        if extra := sorted(beside - set(entries)):
            raise DiffInfError(f"{self.root / extra[0]} is not part of the export.")
        # equation 13: as many pictures as before, less those that reviewers dropped
        given, kept = self.manifest["n_original"], self.manifest["n"]
        if not len(entries) == kept == given - len(self.manifest["dropped"]):
            raise DiffInfError(
                f"{self.root} holds {len(entries)} pictures; {given} less "
                f"{len(self.manifest['dropped'])} dropped should be there."
            )


def read_export(path: str | Path) -> Export:
    """Read what an export wrote; :class:`DiffInfError` for a folder that is no export."""
    root = Path(path)
    if not (root / "manifest.json").is_file() or not (root / "labels.csv").is_file():
        raise DiffInfError(f"{root} is not an export: it has no manifest.json and labels.csv.")
    manifest = read_json(root / "manifest.json")
    try:
        table = readable(pd.read_csv(root / "labels.csv", dtype=str, keep_default_na=False))
        classes, samples = manifest["classes"], manifest["samples"]
        for sample in samples:
            _ = sample["file"], sample["label"], sample["sha256"]
        _ = manifest["n"], manifest["configuration"]["data"]["image_size"]
        _ = int(manifest["n_original"]) - len(manifest["dropped"])
    except KeyError as error:
        raise DiffInfError(
            f"{root} is a damaged export: manifest.json lacks {error}; export again."
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise DiffInfError(f"{root} is a damaged export ({error}); export again.") from error
    missing = [name for name in COLUMNS if name not in table]
    if missing or len(table) != len(samples):
        reason = f"labels.csv has no column {missing[0]!r}" if missing else "rows are missing"
        raise DiffInfError(f"{root} is a damaged export: {reason}; export again.")
    names = table["file"].map(Path)
    if any(name.is_absolute() or ".." in name.parts for name in names):
        raise DiffInfError(f"{root}: labels.csv names a picture outside the export.")
    if unknown := sorted(set(table["label"]) - set(classes)):
        raise DiffInfError(f"{root}: the label {unknown[0]!r} is none of {', '.join(classes)}.")
    return Export(root, table, manifest)


class RefinedDataset(Dataset[tuple[Any, int]]):
    """The refined training set of a run as it stands now, or of an export.

    Item i is (picture, label index). The picture is a float tensor (3, S, S) in [-1, 1] at the run's working
    size, or what ``transform`` makes of a PIL image: of a run at working size, of an export as it was
    exported. ``undecided`` matters for a run alone, see :func:`diffinf_core.review.refine.refine`.

    Raises :class:`DiffInfError` for a folder that is neither.
    """

    def __init__(
        self,
        path: str | Path,
        undecided: str = "original",
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        root, self.transform = Path(path), transform
        self._pictures: _OfRun | _OfExport
        if (root / CONFIG_FILE).is_file():
            self._pictures = _OfRun(Run.open(root), undecided)
        elif (root / "manifest.json").is_file():
            self._pictures = _OfExport(read_export(root))
        else:
            raise DiffInfError(f"{root} is neither a run nor an export.")
        #: id, label, assigned_label and source of each sample
        self.table: pd.DataFrame = self._pictures.table
        self.classes: tuple[str, ...] = self._pictures.classes
        index = {name: i for i, name in enumerate(self.classes)}
        #: label indices (N,)
        self.targets: NDArray[np.int64] = np.array(
            [index[c] for c in self.table["label"]], np.int64
        )

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"There is no sample {i}; there are {len(self)}.")
        at = i % len(self)
        if self.transform is not None:
            return self.transform(self._pictures.image(at)), int(self.targets[at])
        return to_tensor(self._pictures.small(at)[None])[0], int(self.targets[at])

    @property
    def ids(self) -> list[str]:
        """The id of each sample."""
        return self.table["id"].tolist()

    @property
    def sources(self) -> list[str]:
        """The source of each sample: original, repaired (the picture is synthetic) or relabelled."""
        return self.table["source"].tolist()


class _OfRun:
    """The refined set of a run, read from its memory maps."""

    def __init__(self, run: Run, undecided: str) -> None:
        train, refined = open_training(run), refined_set(run, undecided)
        self._data = refined_training(run, train, refined)
        self.classes = train.classes
        columns = {"id": "id", "label": "label", "assigned_label": "assigned", "source": "source"}
        self.table = pd.DataFrame(
            {name: [getattr(s, field) for s in refined.kept] for name, field in columns.items()}
        )

    def small(self, i: int) -> NDArray[np.uint8]:
        return self._data.images([i])[0]

    def image(self, i: int) -> Image.Image:
        return Image.fromarray(self.small(i))


class _OfExport:
    """Pictures of an export, decoded when asked for."""

    def __init__(self, export: Export) -> None:
        self._files, self.classes = export.files, export.classes
        self._size = int(export.manifest["configuration"]["data"]["image_size"])
        self.table = export.table[["id", "label", "assigned_label", "source"]].copy()

    def small(self, i: int) -> NDArray[np.uint8]:
        with self._named(i):
            return np.array(decode(self._files[i], self._size))  # a copy that may be written to

    def image(self, i: int) -> Image.Image:
        with self._named(i):
            return open_upright(self._files[i])

    @contextmanager
    def _named(self, i: int) -> Iterator[None]:
        try:
            yield
        except DiffInfError as error:
            raise DiffInfError(f"{self._files[i]}: {error}.") from error
