"""The FFHQ reader on made-up files in the real schema: a list of faces per picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffinf_core.config import DataConfig
from diffinf_core.data.sources import list_folder
from diffinf_core.data.sources.ages import AGE_CLASSES, age_class
from diffinf_core.data.sources.ffhq import EMOTIONS, Choice, label_of, read_picture
from diffinf_core.records import DiffInfError


def face(side: int = 60, age: float = 30.0, **given: Any) -> dict[str, Any]:
    """One face as the Face API describes it; ``given`` are emotions, or parts of the attributes."""
    emotion = {name: given.pop(name, 0.0) for name in EMOTIONS}
    if not any(emotion.values()):
        emotion["neutral"] = 1.0
    attributes: dict[str, Any] = {
        "smile": 0.0, "headPose": {"pitch": 0.0, "roll": 1.2, "yaw": given.pop("yaw", -4.5)},
        "gender": "female", "age": age, "facialHair": {"moustache": 0.0, "beard": 0.0},
        "glasses": given.pop("glasses", "NoGlasses"), "emotion": emotion,
        "blur": {"blurLevel": given.pop("blur", "low"), "value": 0.1},
        "exposure": {"exposureLevel": "goodExposure", "value": 0.6},
        "noise": {"noiseLevel": "low", "value": 0.0},
        "makeup": {"eyeMakeup": False, "lipMakeup": False}, "accessories": [],
        "occlusion": {
            "foreheadOccluded": given.pop("forehead", False), "eyeOccluded": given.pop("eyes", False),
            "mouthOccluded": given.pop("mouth", False),
        },
        "hair": {"bald": 0.0, "invisible": False, "hairColor": []},
    }  # fmt: skip
    assert not given
    where = {"top": 20, "left": 30, "width": side, "height": side}
    return {"faceId": "0", "faceRectangle": where, "faceAttributes": attributes}


def ffhq(root: Path, *pictures: list[dict[str, Any]], **options: Any) -> DataConfig:
    """A folder of pictures and features, numbered from 0."""
    (root / "json").mkdir(parents=True)
    (root / "images" / "00000").mkdir(parents=True)
    for i, faces in enumerate(pictures):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(root / "images" / "00000" / f"{i:05d}.png")
        (root / "json" / f"{i:05d}.json").write_text(json.dumps(faces))
    return DataConfig(source="folder", path=root, **options)


#: the first and last age of each class and each gap, and what reading A and B make of it
BOUNDARIES = [
    (0, "Young", "Young"), (18, "Young", "Young"), (18.9, "Young", "Young"), (19, None, None),
    (24, None, None), (25, "Middle", "Middle"), (40, "Middle", "Middle"), (41, None, "Middle"),
    (49, None, "Middle"), (50, "Old", "Middle"), (51, "Old", None),
    (59, "Old", None), (60, "Old", "Old"), (72, "Old", "Old"),
]  # fmt: skip


@pytest.mark.parametrize("age,a,b", BOUNDARIES)
def test_both_readings_of_every_boundary(age: float, a: str | None, b: str | None) -> None:
    assert (age_class(age, "A"), age_class(age, "B")) == (a, b)
    for reading, label in (("A", a), ("B", b)):
        assert label_of([face(age=age)], Choice("age", reading))[0] == label


def test_pictures_are_labelled_by_their_largest_face(tmp_path: Path) -> None:
    config = ffhq(
        tmp_path, [], [face(age=5)], [face(50, age=5), face(60, age=70)], [face(60, age=70), face(50, age=5)],
        [face(60, age=30), face(60, age=70)], [face(age=22)], attribute="age",
    )  # fmt: skip
    listing = list_folder(config)
    assert [(row.file[-9:], row.label) for row in listing.rows] == [
        ("00001.png", "Young"), ("00002.png", "Old"), ("00003.png", "Old"), ("00004.png", "Middle")
    ]  # fmt: skip
    assert listing.classes == list(AGE_CLASSES)
    assert listing.remarks[:2] == (
        "1 pictures are of an age that no class holds and are left out.",
        "1 pictures show no face and are left out.",
    )
    assert listing.rows[1].extra["faces"] == "2" and listing.rows[1].extra["age"] == "70"
    assert (
        listing.taken_for
        == "FFHQ pictures with DCGM features, age, reading A, the largest face of each"
    )


def test_one_face_only_leaves_several_out(tmp_path: Path) -> None:
    config = ffhq(
        tmp_path, [face(age=5)], [face(age=70), face(50, age=5)], attribute="age", one_face=True
    )
    assert [row.label for row in list_folder(config).rows] == ["Young"]


@pytest.mark.parametrize("emotion,label", EMOTIONS.items())
def test_the_likeliest_of_all_eight_emotions_decides(emotion: str, label: str | None) -> None:
    assert (
        label_of(
            [face(**{emotion: 0.6, "neutral" if emotion != "neutral" else "fear": 0.4})],
            Choice("expression"),
        )[0]
        == label
    )


def test_a_tie_goes_to_the_alphabetically_first_emotion() -> None:
    assert label_of([face(happiness=0.5, neutral=0.5)], Choice("expression")) == ("happy", "")
    assert label_of([face(fear=0.5, sadness=0.5)], Choice("expression"))[0] is None
    assert label_of([face(surprise=0.5, sadness=0.5)], Choice("expression")) == ("sad", "")


def test_the_threshold_is_a_least_confidence() -> None:
    for confidence, label in ((0.5, "sad"), (0.500001, None)):
        choice = Choice("expression", confidence=confidence)
        assert label_of([face(sadness=0.5, neutral=0.4)], choice)[0] == label


@pytest.mark.parametrize(
    "given,kept",
    [
        ({}, True), ({"yaw": 45.0}, True), ({"yaw": -45.1}, False), ({"glasses": "ReadingGlasses"}, True),
        ({"glasses": "Sunglasses"}, False), ({"glasses": "SwimmingGoggles"}, False), ({"eyes": True}, False),
        ({"mouth": True}, False), ({"forehead": True}, True), ({"blur": "medium"}, True),
        ({"blur": "high"}, False),
    ],
)  # fmt: skip
def test_the_quality_filter(given: dict[str, Any], kept: bool) -> None:
    assert (label_of([face(**given)], Choice("age", quality=True))[0] is not None) == kept


def test_the_quality_filter_wants_one_face() -> None:
    assert label_of([face(), face(50)], Choice("age", quality=True)) == (None, "show several faces")


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "[{}]", '[{"faceAttributes": {}}]', "[" * 100_000, "\x00"]
)
def test_a_file_that_is_none_of_features_is_named(tmp_path: Path, text: str) -> None:
    config = ffhq(tmp_path, [face(age=5)], [face(age=70)], attribute="age")
    (tmp_path / "json" / "00001.json").write_text(text)
    listing = list_folder(config)
    (problem,) = listing.problems
    assert str(problem).startswith("00001.json: ") and len(listing.rows) == 1
    with pytest.raises(DiffInfError):
        read_picture(tmp_path / "json" / "00001.json", Choice("age"))


def test_pictures_without_features_are_counted_and_features_may_lie_elsewhere(
    tmp_path: Path,
) -> None:
    config = ffhq(tmp_path / "a", [face(age=5)], [face(age=70)], attribute="age")
    (tmp_path / "a" / "json" / "00001.json").unlink()
    assert "1 pictures have no file of features." in list_folder(config).remarks
    (tmp_path / "a" / "json").rename(tmp_path / "away")
    named = config.model_copy(update={"kind": "ffhq", "features": tmp_path / "away"})
    assert [row.label for row in list_folder(named).rows] == ["Young"]
    with pytest.raises(DiffInfError, match="no DCGM features"):
        list_folder(named.model_copy(update={"features": tmp_path / "nowhere"}))


def test_classes_that_are_ages_ask_for_ages_and_others_are_left_out(tmp_path: Path) -> None:
    config = ffhq(tmp_path, [face(age=5)], [face(age=30)], [face(age=70)], classes=("Old", "Young"))
    listing = list_folder(config)
    assert listing.classes == ["Old", "Young"] and [r.label for r in listing.rows] == [
        "Young",
        "Old",
    ]
    assert (
        "1 pictures are Middle, which data.classes does not name, and are left out."
        in listing.remarks
    )


def test_what_the_choice_does_not_ask_for_may_be_missing(tmp_path: Path) -> None:
    bare = face(age=5)
    bare["faceAttributes"] = {"age": 5.0}
    listing = list_folder(ffhq(tmp_path, [bare], [face(age=70)], attribute="age"))
    assert [row.label for row in listing.rows] == ["Young", "Old"]
    assert listing.rows[0].extra["emotion"] == ""
    wanted = ffhq(tmp_path / "b", [bare], [face(happiness=0.9)])
    assert [p.file for p in list_folder(wanted).problems] == ["00000.json"]
