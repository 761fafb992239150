"""FFHQ pictures labelled by the DCGM features: a JSON file per picture, a list of the faces in it.

https://github.com/DCGM/ffhq-features-dataset; the estimates are those of Microsoft's Face API, so even
"clean" labels are a machine's. The files carry a licence of their own and are not part of this package.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing
from diffinf_core.data.rows import Problem, Row
from diffinf_core.data.sources.ages import AGE_CLASSES, age_class
from diffinf_core.data.sources.base import Source
from diffinf_core.records import DiffInfError

#: the Face API's eight emotions in alphabetical order, in which ties are broken, and our four classes
EMOTIONS: Mapping[str, str | None] = {
    "anger": None, "contempt": None, "disgust": None, "fear": None,
    "happiness": "happy", "neutral": "neutral", "sadness": "sad", "surprise": "surprised",
}  # fmt: skip
EXPRESSIONS = ("happy", "neutral", "surprised", "sad")
#: where the JSON files are looked for, below the data folder
_FOLDERS = ("json", "features", "ffhq-features-dataset/json", "ffhq-features/json", ".")
_CLEAR_GLASSES = ("NoGlasses", "ReadingGlasses")
#: degrees of head turn that the quality filter allows
MOST_YAW = 45.0


@dataclass(frozen=True)
class Choice:
    """Which faces become samples; see the fields of :class:`DataConfig`."""

    task: str = "age"
    ages: str = "A"
    confidence: float = 0.0
    one_face: bool = False
    quality: bool = False

    @classmethod
    def of(cls, config: DataConfig) -> Choice:
        """The choice that a data section makes; classes that are ages ask for ages."""
        ages = config.classes is not None and set(config.classes) <= set(AGE_CLASSES)
        task = "age" if ages else config.attribute
        return cls(task, config.ages, config.confidence, config.one_face, config.quality)


def largest_face(faces: list[dict[str, Any]]) -> dict[str, Any]:
    """The face with the largest rectangle; the first of equals."""
    return max(
        faces, key=lambda face: face["faceRectangle"]["width"] * face["faceRectangle"]["height"]
    )


def emotion_of(face: Mapping[str, Any]) -> tuple[str, float]:
    """The likeliest of the eight emotions and its confidence; the alphabetically first of equals."""
    given = face["faceAttributes"]["emotion"]
    name = max(EMOTIONS, key=lambda emotion: given[emotion])
    return name, float(given[name])


def _poor(face: Mapping[str, Any]) -> bool:
    """Whether the quality filter leaves a face out."""
    given = face["faceAttributes"]
    covered = given["occlusion"]
    return (
        abs(given["headPose"]["yaw"]) > MOST_YAW
        or given["glasses"] not in _CLEAR_GLASSES
        or covered["eyeOccluded"]
        or covered["mouthOccluded"]
        or given["blur"]["blurLevel"].lower() == "high"
    )


def label_of(faces: list[dict[str, Any]], choice: Choice) -> tuple[str | None, str]:
    """(label, "") of a picture by its faces, or (None, why it is left out)."""
    if not faces:
        return None, "show no face"
    if len(faces) > 1 and (choice.one_face or choice.quality):
        return None, "show several faces"
    face = largest_face(faces)
    if choice.quality and _poor(face):
        return None, "are left out by the quality filter"
    if choice.task == "age":
        label = age_class(float(face["faceAttributes"]["age"]), choice.ages)
        return (label, "") if label else (None, "are of an age that no class holds")
    emotion, confidence = emotion_of(face)
    label = EMOTIONS[emotion]
    if label is None:
        return None, "show another expression"
    if confidence < choice.confidence:
        return None, f"are labelled with a confidence below {choice.confidence:g}"
    return label, ""


def _columns(faces: list[dict[str, Any]]) -> dict[str, str]:
    """What else is known of the face, as text; empty where the file does not say."""
    face = largest_face(faces)

    def cell(*path: str) -> str:
        value: Any = face["faceAttributes"]
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

    emotion, confidence = emotion_of(face) if cell("emotion") else ("", None)
    return {
        "faces": str(len(faces)),
        "age": cell("age"),
        "gender": cell("gender"),
        "emotion": emotion,
        "confidence": "" if confidence is None else f"{confidence:g}",
        "glasses": cell("glasses"),
        "yaw": cell("headPose", "yaw"),
        "blur": cell("blur", "blurLevel").lower(),
    }


def read_picture(file: Path | str, choice: Choice) -> tuple[str | None, str, dict[str, str]]:
    """:func:`label_of` a picture by its file of features, and its other columns, none where it is left out.

    Raises :class:`DiffInfError` for a file that is no list of faces, or lacks what the choice asks for.
    """
    try:
        with open(file, "rb") as opened:
            faces = json.load(opened)
        if not isinstance(faces, list):
            raise ValueError("it is no list of faces")
        label, reason = label_of(faces, choice)
        return label, reason, _columns(faces) if label else {}
    except (OSError, ValueError, RecursionError) as error:
        raise DiffInfError(f"cannot be read ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DiffInfError(f"lacks the features of a face ({error})") from error


def features_folder(config: DataConfig) -> Path | None:
    """Where the JSON files lie: ``data.features``, or a place below the data folder; None if nowhere."""
    if config.features is not None:
        return config.features if config.features.is_dir() else None
    for name in _FOLDERS:
        folder = (config.path or Path()) / name
        if folder.is_dir() and any(True for _ in _files(folder, name != ".")):
            return folder
    return None


def _files(folder: Path, deep: bool = True) -> Iterator[tuple[str, str]]:
    """(name without suffix, path) of each JSON file that is called by a number; ``deep``: at any depth."""
    for home, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            stem, _, suffix = name.rpartition(".")
            if suffix == "json" and stem.isdigit():
                yield stem, f"{home}/{name}"
        if not deep:
            return


class FFHQ(Source):
    """FFHQ pictures, ``00000.png`` or in folders of a thousand, and the DCGM features beside them."""

    name = "ffhq"
    about = "FFHQ pictures with the DCGM features: a JSON file of faces per picture"

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """A folder in or for which there are JSON files named by numbers."""
        return (
            config.path is not None and config.path.is_dir() and features_folder(config) is not None
        )

    def read(self) -> Listing:
        """See :meth:`Source.read`."""
        folder = features_folder(self.config)
        if folder is None:
            where = self.config.features or f"{self.root}/json"
            raise DiffInfError(
                f"There are no DCGM features (00000.json and so on) in {where}; name their folder with "
                "data.features."
            )
        contents, choice = self.walk(), Choice.of(self.config)
        features = dict(_files(folder, folder != self.root))
        rows: list[Row] = []
        problems: list[Problem] = []
        left_out, missing = Counter[str](), 0
        for name in contents.pictures:
            stem = name.rpartition("/")[2].rpartition(".")[0]
            file = features.get(stem)
            if file is None:
                missing += 1
                continue
            try:
                label, reason, columns = read_picture(file, choice)
            except DiffInfError as error:
                problems.append(Problem(None, os.path.relpath(file, folder), str(error)))
                continue
            if label is not None and self.config.classes and label not in self.config.classes:
                label, reason = None, f"are {label}, which data.classes does not name,"
            if label is None:
                left_out[reason] += 1
            else:
                rows.append(Row(name, label, columns))
        remarks = [f"{n:,} pictures {why} and are left out." for why, n in sorted(left_out.items())]
        if missing:
            remarks.append(f"{missing:,} pictures have no file of features.")
        age = choice.task == "age"
        reading = f", reading {choice.ages}" if age else ""
        taken_for = (
            f"FFHQ pictures with DCGM features, {choice.task}{reading}, the largest face of each"
        )
        order = AGE_CLASSES if age else EXPRESSIONS
        return self.listing(rows, problems, missing, taken_for, contents, tuple(remarks), order)
