"""Kinds of data sets: one small class each, and a guess that says what a folder was taken for."""

from __future__ import annotations

from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing
from diffinf_core.data.sources.archive import Archive
from diffinf_core.data.sources.base import PackedSource, Source
from diffinf_core.data.sources.datasets import Datasets
from diffinf_core.data.sources.export import OwnExport
from diffinf_core.data.sources.ffhq import FFHQ
from diffinf_core.data.sources.folders import ClassFolders
from diffinf_core.data.sources.hf import ImageFolder
from diffinf_core.data.sources.table import Table
from diffinf_core.data.sources.utkface import UTKFace
from diffinf_core.data.text import shown
from diffinf_core.records import DiffInfError

#: in the order in which they are tried on a folder
SOURCES: tuple[type[Source], ...] = (
    Archive, OwnExport, Table, Datasets, ImageFolder, FFHQ, UTKFace, ClassFolders,
)  # fmt: skip


def source_of(config: DataConfig) -> Source:
    """The source that ``config.kind`` names, or the first that recognises the folder."""
    if config.path is None:
        raise DiffInfError("A data set needs a path.")
    for kind in SOURCES:
        if config.kind == kind.name or (config.kind == "auto" and kind.recognises(config)):
            return kind(config)
    if not config.path.exists():
        raise DiffInfError(f"The folder {config.path} does not exist.")
    if not config.path.is_dir():
        raise DiffInfError(f"{config.path} is not a folder.")
    raise DiffInfError(f"{config.path} is no data set of a known kind.")


def named_source(text: str) -> dict[str, str]:
    """``hf:FOLDER``, or a plain path, as values of the data section: source, kind and path.

    Raises :class:`DiffInfError` for a file that is no data set.
    """
    prefix, colon, rest = text.partition(":")
    known = colon and prefix in {kind.name for kind in SOURCES} and not _exists(text)
    try:
        path = Path(rest if known else text).expanduser().resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise DiffInfError(f"{shown(text)!r} is no folder: {error}.") from error
    kind = prefix if known else "auto"
    if not known and path.exists():
        # what has to be unpacked is decided once: a run opens also where its source is gone
        guess = source_of(DataConfig(source="folder", path=path))
        kind = guess.name if isinstance(guess, PackedSource) else "auto"
    return {"source": "folder", "path": str(path), "kind": kind}


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or with a zero
        return False


def packed_source(config: DataConfig) -> PackedSource | None:
    """The source that has to be unpacked first, None where the path is a folder that is read as it is."""
    for kind in SOURCES:
        if kind.name == config.kind and issubclass(kind, PackedSource):
            return kind(config)
    return None


def list_folder(config: DataConfig) -> Listing:
    """List a data set without decoding its pictures.

    Raises :class:`DiffInfError` where nothing can be listed at all: no folder, no pictures, no
    usable table. Single bad rows are returned as problems.
    """
    return source_of(config).read()
