"""Where the pictures come from, how they are split, and which labels are made wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from diffinf_core.config.section import Section, later


class DataConfig(Section):
    """Where pictures and labels come from."""

    source: Literal["demo", "folder"] = Field("demo", description="rendered faces, or a folder")
    path: Path | None = Field(None, description="folder with pictures and labels.csv")
    kind: Literal[
        "auto", "table", "folders", "hf", "datasets", "ffhq", "utkface", "archive", "export"
    ] = later("auto", description="what the path holds; auto: guessed from its files")
    outside_links: bool = later(False, description="follow links that lead out of the folder")
    labels: str = Field("labels.csv", description="table in the folder: file, label, ...")
    file_column: str | None = later(
        None, description="column of the file name; default: file, file_name, filename or path"
    )
    label_column: str = Field("label", description="column of the class")
    split_column: str | None = later(
        None, description="column that says train, val or test; default: none, the split is drawn"
    )
    group_column: str | None = Field(
        None, description="column that must not be split, e.g. identity"
    )
    classes: tuple[str, ...] | None = Field(
        None, description="class order; default: the demo's order, else sorted"
    )
    encoding: str | None = later(
        None,
        description="encoding of a text table, e.g. cp1252; default: UTF-8, or its byte-order mark",
    )
    bit_depth: Literal[8, 10, 12, 14, 16] | None = later(
        None,
        description="bits of files with more than 8 per value; default: as many as the data use",
    )
    max_megapixels: float = later(
        100.0, gt=0, le=178, description="larger pictures are refused, but for JPEGs, read reduced"
    )
    skip_bad: bool = later(
        False, description="go on without unreadable pictures and bad rows, which are counted"
    )
    attribute: Literal["expression", "age"] = Field(
        "expression", description="label of the rendered faces, and of FFHQ"
    )
    features: Path | None = later(
        None, description="folder of FFHQ's DCGM features; default: json/ in the data folder"
    )
    ages: Literal["A", "B"] = later(
        "A",
        description="age classes of FFHQ and UTKFace; A: 0-18, 25-40, 50 and up; B: 0-18, 25-50, 60 and up",
    )
    confidence: float = later(
        0.0, ge=0, le=1, description="FFHQ: least confidence of an expression"
    )
    align: bool = later(
        False,
        description="detect faces by MTCNN and bring the largest to FFHQ's framing; needs the extra faces",
    )
    one_face: bool = later(
        False, description="FFHQ, and with align: leave out pictures that show several faces"
    )
    quality: bool = later(
        False,
        description="FFHQ: leave out several faces, turned heads, dark glasses, covered eyes or mouths, blur",
    )
    image_size: Literal[32, 64, 128, 256] = Field(64, description="side in pixels")
    demo_faces: int = Field(
        5000, ge=60, le=1_000_000, description="rendered faces, all splits together"
    )
    seed: int = Field(7, ge=0, lt=2**32, description="seed of the rendered faces")

    @model_validator(mode="after")
    def _has_path(self) -> DataConfig:
        if self.source == "folder" and self.path is None:
            raise ValueError("source 'folder' needs a path.")
        if self.source == "folder" and self.group_column == self.label_column:
            raise ValueError(
                f"group_column {self.group_column!r} is the label; a split by it has no class twice."
            )
        return self


class SplitConfig(Section):
    """Stratified split by hash of the file name, or of the group; a given split is honoured."""

    val_share: float = Field(0.10, gt=0, lt=0.5, description="fraction of validation groups")
    test_share: float = Field(0.20, gt=0, lt=0.5, description="fraction of test groups")
    seed: int = Field(0, ge=0, lt=2**32, description="salt of the hash")
    small_classes: Literal["refuse", "drop", "train"] = later(
        "refuse",
        description="classes too small for every split: refuse the data set, leave them out, or take all of "
        "them for training, so that no figure on the test split is about them",
    )
    folds: int | None = later(
        None, ge=2, le=100, description="cross-validation: the test split is one of so many folds"
    )
    fold: int = later(0, ge=0, lt=100, description="which fold is the test split, from 0")
    copies: Literal["anywhere", "together"] = later(
        "anywhere",
        description="equal files and pictures that look alike: together keeps them in one split, as new runs "
        "on a folder do; anywhere does not look for them",
    )

    @model_validator(mode="after")
    def _fold_exists(self) -> SplitConfig:
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"there is no fold {self.fold}: folds are counted from 0 to folds - 1."
            )
        return self


class NoiseConfig(Section):
    """Symmetric label noise on the training split only; exactly floor(rate N + 1/2) labels change."""

    rate: float = Field(0.20, ge=0, lt=1, description="fraction of training labels made wrong")
    seed: int = Field(0, ge=0, lt=2**32, description="which labels, and to what")
