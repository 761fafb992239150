"""Refined data sets for PyTorch: a run as it stands, or what was exported from one."""

from __future__ import annotations

import math
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

from diffinf_core.data.decode import Pixels, decode, open_upright
from diffinf_core.data.part import open_training, to_tensor
from diffinf_core.data.split import TRAIN
from diffinf_core.export.formats.patch import FILE as CHANGES
from diffinf_core.export.verify import verify_export
from diffinf_core.records import DiffInfError
from diffinf_core.review.refine import refined_set
from diffinf_core.review.training_set import refined_training
from diffinf_core.runs.cells import readable
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import CONFIG_FILE, Run

#: the table of an export; that of a patch
_TABLES = ("labels.csv", CHANGES)
#: columns without which it is none; earlier versions wrote no more
_NEEDED = ("file", "label", "assigned_label", "source", "id")


@dataclass(frozen=True)
class Export:
    """An exported data set.

    ``table`` has a row per picture: :data:`diffinf_core.export.plan.COLUMNS` (file, label, assigned_label,
    source: original, repaired or relabelled, id, split, original), then the data set's own columns;
    ``manifest`` the lineage of each picture, and what became of the others.
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
        """Compare every file with its SHA-256, and the counts with the size equation of D'.

        Raises :class:`DiffInfError` that names the first thing that differs.
        """
        verify_export(self.root, self.table, self.manifest)


def read_export(path: str | Path) -> Export:
    """Read what an export wrote, in any format; :class:`DiffInfError` for a folder that is no export."""
    root = Path(path)
    names = [name for name in _TABLES if (root / name).is_file()]
    if not (root / "manifest.json").is_file() or not names:
        raise DiffInfError(f"{root} is not an export: it has no manifest.json and {_TABLES[0]}.")
    manifest = read_json(root / "manifest.json")
    try:
        table = readable(pd.read_csv(root / names[0], dtype=str, keep_default_na=False))
        if names[0] == CHANGES:
            table = table[table["action"] != "dropped"].rename(columns={"action": "source"})
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
    missing = [name for name in _NEEDED if name not in table]
    if missing or len(table) != len(samples):
        reason = f"{names[0]} has no column {missing[0]!r}" if missing else "rows are missing"
        raise DiffInfError(f"{root} is a damaged export: {reason}; export again.")
    files = table["file"].map(Path)
    if any(name.is_absolute() or ".." in name.parts for name in files):
        raise DiffInfError(f"{root}: {names[0]} names a picture outside the export.")
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
        if export.manifest.get("format") == "patch":
            raise DiffInfError(
                f"{export.root} is a patch, which holds only what changed; export in another format."
            )
        table = export.table
        if "split" in table:
            table = table[table["split"] == TRAIN].reset_index(drop=True)
        self._files, self.classes = [export.root / f for f in table["file"]], export.classes
        config = export.manifest["configuration"]["data"]
        self._size = int(config["image_size"])
        depth = export.manifest.get("bit_depth") or config.get("bit_depth") or 16
        # what the run has taken is not too large here
        self._pixels = Pixels(int(depth), math.inf)
        self.table = table[["id", "label", "assigned_label", "source"]].copy()

    def small(self, i: int) -> NDArray[np.uint8]:
        with self._named(i):
            return np.array(
                decode(self._files[i], self._size, self._pixels)
            )  # a copy that may be written to

    def image(self, i: int) -> Image.Image:
        with self._named(i):
            return open_upright(self._files[i], pixels=self._pixels)

    @contextmanager
    def _named(self, i: int) -> Iterator[None]:
        try:
            yield
        except DiffInfError as error:
            raise DiffInfError(f"{self._files[i]}: {error}.") from error
