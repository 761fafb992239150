"""The pictures of a run: originals, versions of edits, and what is drawn from them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.correction.edits import (
    edit_folder,
    read_edit,
    versions_of,
    whole_png,
)
from diffinf_core.correction.usual import load_flagged
from diffinf_core.data.ingest import source_folder
from diffinf_core.data.show import encoded, heat
from diffinf_core.engine.tables import Tables
from diffinf_core.records import DiffInfError, Edit

#: columns of the sample table that the data set did not bring
_OURS = ("id", "file", "label", "split")
_OF_AN_EDIT = ("edit", "reconstruction", "heat")


class Pictures:
    """Reads training pictures and edits; of the test split there is nothing here."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def data_key(self) -> str:
        """Names the data set as this run reads it: a sample id is one picture under it."""
        return self._tables.data_key

    def original(self, sample: str) -> NDArray[np.uint8]:
        """The picture of a training sample, uint8 (S, S, 3)."""
        train = self._tables.training
        return train.images([train.position(sample)])[0]

    def described(self, sample: str) -> dict[str, str]:
        """The "file" of a training sample, and what the data set's own columns say of it."""
        train = self._tables.training
        row = train.table.iloc[train.position(sample)]
        columns = [c for c in train.table.columns if c not in _OURS and str(row[c]).strip()]
        return {"file": str(row["file"]), **{c: str(row[c]) for c in columns}}

    def file(self, sample: str) -> tuple[bytes, str]:
        """The original file of a training sample as it lies in the data set, and its media type.

        Raises :class:`DiffInfError` for a file that is no more there, lies outside of the data folder, or
        is no picture.
        """
        name, root = self.described(sample)["file"], source_folder(self._tables.folder)
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()) or not path.is_file():
            raise DiffInfError(f"{root} holds no file {name}.")
        content = path.read_bytes()
        try:
            with Image.open(io.BytesIO(content)) as picture:
                media = Image.MIME.get(picture.format or "", "")
        except (OSError, ValueError, Image.DecompressionBombError):
            media = ""
        if not media.startswith("image/"):
            raise DiffInfError(f"{path} is no picture that a browser could show.")
        return content, media

    def edit(self, sample: str, version: str) -> NDArray[np.uint8]:
        """The edited picture of a version, uint8 (S, S, 3)."""
        return read_edit(self._tables.folder, sample, version)

    def reconstruction(self, sample: str, version: str) -> NDArray[np.uint8]:
        """The plain decoding of a version's latent, without guidance, uint8 (S, S, 3)."""
        return read_edit(self._tables.folder, sample, version, "reconstruction")

    def versions(self, sample: str) -> list[str]:
        """The names of all versions of a sample's edit, oldest first."""
        return versions_of(self._tables.folder, sample)

    def record(self, sample: str, version: str) -> Edit:
        """The settings and scores of a version."""
        return load_flagged(self._tables.folder, sample, version)

    def png(self, kind: str, sample: str, version: str = "") -> bytes:
        """A picture as PNG: "original", or the "edit", "reconstruction" or "heat" of a version.

        Raises :class:`DiffInfError` for a picture that does not exist.
        """
        if kind == "original":
            return encoded(self.original(sample))
        self._tables.training.position(sample)
        if kind not in _OF_AN_EDIT:
            raise DiffInfError(f"There is no picture {kind!r} of a sample.")
        try:
            if kind == "heat":
                return encoded(heat(self.original(sample), self.edit(sample, version)))
            file = edit_folder(self._tables.folder, sample, version) / f"{kind}.png"
            return whole_png(file)
        except FileNotFoundError as error:
            raise DiffInfError(f"There is no edit {version!r} of sample {sample!r}.") from error

    def thumbnail(self, sample: str, side: int) -> bytes:
        """The original as a small WebP of ``side`` x ``side`` pixels."""
        small = Image.fromarray(self.original(sample)).resize(
            (side, side), Image.Resampling.LANCZOS
        )
        return encoded(np.asarray(small), "WEBP", quality=85)
