"""The pictures of a run: originals, versions of edits, and what is drawn from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.correction.edits import (
    edit_folder,
    load_edit,
    read_edit,
    versions_of,
    whole_png,
)
from diffinf_core.data.show import encoded, heat
from diffinf_core.engine.tables import Tables
from diffinf_core.records import DiffInfError, Edit

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
        return load_edit(self._tables.folder, sample, version)

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
