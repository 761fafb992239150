"""Kinds of data sets: one small class each, and a guess that says what a folder was taken for."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from diffinf_core.config import DataConfig, SplitConfig
from diffinf_core.data.decode import Pixels, decode, depth_of, highest_level
from diffinf_core.data.folder import Listing, Problem, too_few_classes
from diffinf_core.data.planning import small_classes
from diffinf_core.data.sources.archive import Archive
from diffinf_core.data.sources.base import PackedSource, Source
from diffinf_core.data.sources.datasets import Datasets
from diffinf_core.data.sources.export import OwnExport
from diffinf_core.data.sources.ffhq import FFHQ
from diffinf_core.data.sources.folders import ClassFolders
from diffinf_core.data.sources.hf import ImageFolder
from diffinf_core.data.sources.table import Table
from diffinf_core.data.sources.unpacked import reading_unpacked
from diffinf_core.data.sources.utkface import UTKFace
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
    known = colon and prefix in {kind.name for kind in SOURCES} and not Path(text).exists()
    path = Path(rest if known else text).expanduser().resolve()
    kind = prefix if known else "auto"
    if not known and path.exists():
        # what has to be unpacked is decided once: a run opens also where its source is gone
        guess = source_of(DataConfig(source="folder", path=path))
        kind = guess.name if isinstance(guess, PackedSource) else "auto"
    return {"source": "folder", "path": str(path), "kind": kind}


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


def check_folder(
    config: DataConfig, split: SplitConfig | None = None
) -> tuple[Listing, list[Problem]]:
    """List a folder and decode every picture as a run would; the second value holds every problem.

    Under ``split`` a class too small for every part is a problem, too.
    """
    packed = packed_source(config)
    if packed is not None:
        with TemporaryDirectory(prefix="diffinf-check-") as scratch:
            for _ in packed.unpack(Path(scratch) / "unpacked"):
                pass
            return _check(reading_unpacked(config, Path(scratch) / "unpacked"), split)
    return _check(config, split)


def _check(config: DataConfig, split: SplitConfig | None) -> tuple[Listing, list[Problem]]:
    listing = list_folder(config)
    problems = list(listing.problems)
    pixels = Pixels(config.bit_depth or 16, config.max_megapixels)
    if config.bit_depth is None:
        levels = (highest_level(listing.root / row.file, pixels) for row in listing.rows)
        highest = max((level for level in levels if level is not None), default=65535)
        pixels = Pixels(depth_of(highest), config.max_megapixels)
    for row in listing.rows:
        try:
            decode(listing.root / row.file, config.image_size, pixels)
        except DiffInfError as error:
            problems.append(Problem(None, row.file, str(error)))
    if len(listing.classes) < 2:
        problems.append(Problem(None, str(listing.root), too_few_classes(listing)))
    elif listing.rows:
        problems += small_classes(listing, config, split or SplitConfig())
    return listing, problems
