"""Repair of bare pictures with the shipped generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffinf_core.config import PRESETS, RepairConfig
from diffinf_core.correction.editing import Preview
from diffinf_core.correction.networks import JudgeNet
from diffinf_core.correction.repair import repair
from diffinf_core.data.part import to_tensor
from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.render import render_face
from diffinf_core.diffusion import load_autoencoder
from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.records import DiffInfError
from diffinf_core.weights.files import load_weights, shipped

FAST = {"steps": 2}


def face(seed: int, kind: int) -> NDArray[np.uint8]:
    """A rendered face with a clear expression."""
    rng = np.random.default_rng(seed)
    person = faces.sample_identity(rng)
    strength = None if kind == faces.NEUTRAL else 0.9
    shown = faces.sample_expression(rng, kind, strength)
    return render_face(person, shown, 0.3, faces.sample_nuisance(rng, 0.3), 64)[0]


@pytest.fixture(scope="module")
def pair() -> NDArray[np.uint8]:
    return np.stack([face(0, 0), face(1, 3)])  # happy, sad


def test_an_edit_shows_its_label_and_the_same_person() -> None:
    kinds = np.array([0, 3, 1, 2, 0, 3, 1, 2])
    wanted = np.array([3, 0, 2, 1, 1, 2, 0, 3])
    images = np.stack([face(seed, kind) for seed, kind in enumerate(kinds)])
    labels = [faces.EXPRESSIONS[k] for k in wanted]
    job = repair(images, labels)
    previews = list(job)
    edits = job.result()
    net = load_weights(shipped("judge"), JudgeNet((len(faces.EXPRESSIONS), len(faces.AGES))))
    with torch.no_grad():
        before, after = (
            net(to_tensor(v))[0].softmax(1)[torch.arange(8), torch.from_numpy(wanted)]
            for v in (images, np.stack([e.image for e in edits]))
        )
    assert (before < 0.1).all() and (after - before > 0.2).all() and (after > 0.5).sum() >= 6
    steps = RepairConfig().steps
    assert [(p.done, p.total) for p in previews] == [(i + 1, steps) for i in range(steps)]
    assert previews[-1].images.shape == (8, 64, 64, 3)
    for edit, original, label in zip(edits, images, labels, strict=True):
        np.testing.assert_array_equal(edit.original, original)
        assert edit.label == label and 0.6 < edit.ssim < 1 and edit.l1 > 0.6
        assert edit.identity is not None and edit.identity > 0.8 and "demo" in edit.identity_name
        assert edit.h_before is None and edit.h_after is None
        assert set(edit.losses) == {"identity", "structure", "perceptual", "reconstruction"}
        assert {len(v) for v in edit.losses.values()} == {steps}
        assert edit.settings["w_si"] == 0 and isinstance(edit.flags, dict)


def test_every_form_of_picture_is_the_same_picture(pair: NDArray[np.uint8]) -> None:
    (expected,) = repair(pair[0], "sad", settings=FAST).result()
    for image in (
        pair[:1],
        Image.fromarray(pair[0]),
        [Image.fromarray(pair[0])],
        to_tensor(pair[:1]),
        to_tensor(pair[:1])[0],
    ):
        (found,) = repair(image, ["sad"], settings=FAST).result()
        np.testing.assert_array_equal(found.image, expected.image)


def test_batches_keep_the_order_and_one_label_serves_all(pair: NDArray[np.uint8]) -> None:
    images = [pair[0], pair[1], pair[0]]
    job = repair(images, "neutral", settings={**FAST, "batch_size": 2})
    events = list(job)
    assert [(e.done, e.total, e.first) for e in events] == [
        (1, 4, 0), (2, 4, 0), (3, 4, 2), (4, 4, 2),
    ]  # fmt: skip
    edits = job.result()
    assert [e.label for e in edits] == ["neutral"] * 3
    difference = np.abs(edits[0].image.astype(int) - edits[2].image.astype(int))
    assert difference.max() <= 1
    for edit, original in zip(edits, images, strict=True):
        np.testing.assert_array_equal(edit.original, original)


def test_labels_by_name_and_by_index_in_any_order(pair: NDArray[np.uint8]) -> None:
    named = repair(pair, ["Sad", "happy"], settings=FAST).result()
    counted = repair(pair, np.array([0, 1]), classes=["sad", "happy"], settings=FAST).result()
    for a, b in zip(named, counted, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    assert [e.label for e in counted] == ["sad", "happy"]


def test_a_path_and_a_loaded_generator_condition_alike(pair: NDArray[np.uint8]) -> None:
    settings = {**FAST, "step_size": 0}
    default, *others = (
        repair(pair[0], "sad", generator=generator, settings=settings).result()[0].image
        for generator in (None, str(shipped("generator")), shipped("generator"), load_autoencoder())
    )
    for other in others:
        np.testing.assert_array_equal(default, other)


def test_a_loaded_generator_is_judged_as_its_file_and_left_as_it_was(
    pair: NDArray[np.uint8],
) -> None:
    generator = load_autoencoder()
    generator.precision = torch.bfloat16
    loaded = repair(pair[0], "sad", generator=generator, settings=FAST).result()[0]
    default = repair(pair[0], "sad", settings=FAST).result()[0]
    assert generator.precision is torch.bfloat16
    assert loaded.identity_name == default.identity_name
    assert loaded.perceptual_name == default.perceptual_name
    np.testing.assert_array_equal(loaded.image, default.image)


def test_a_generator_that_inpaints_does_so_unless_it_is_told_otherwise() -> None:
    attribute = Attribute(name="kind", classes=("a", "b"))
    model = DiffusionAutoencoder(
        Architecture(
            image_size=32, z_dim=16, patch=1, widths=(16, 24), embed=32, encoder_width=16,
            attributes=(attribute,), inpaints=True,
        )
    ).eval()  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    quick = {"steps": 2, "perceptual": "demo", "identity": "none", "parsing": "none"}
    usual, other, whole = (
        repair(image, "a", generator=model, settings=settings).result()[0].settings
        for settings in (quick, {**quick, "guidance": 2}, RepairConfig(**quick))
    )
    preset = PRESETS["photographs"]["repair"]
    assert {key: usual[key] for key in preset} == {**preset, "steps": 2}
    assert {key: other[key] for key in preset} == {**preset, "steps": 2, "guidance": 2}
    assert whole["method"] == "guided" and whole["guidance"] == RepairConfig().guidance


def test_the_class_that_is_seen_can_be_led_away_from(pair: NDArray[np.uint8]) -> None:
    plain, seen = (
        repair(pair[0], "sad", settings={**FAST, "guide_from": how}).result()[0].image
        for how in ("unknown", "seen")
    )
    assert (plain != seen).any()


def test_a_predictor_adds_its_term_and_its_probabilities(pair: NDArray[np.uint8]) -> None:
    heard: list[Tensor] = []

    def bright(x: Tensor, y: Tensor) -> Tensor:
        heard.append(y)
        return 4 * x.mean((1, 2, 3))

    edits = repair(pair, ["sad", "happy"], predictor=bright, settings={"w_si": 20}).result()
    plain = repair(pair, ["sad", "happy"]).result()
    for edit, without in zip(edits, plain, strict=True):
        assert "influence" in edit.losses
        assert edit.image.mean() < without.image.mean(), "darker is less suspicious here"
        assert edit.h_before is not None and edit.h_after is not None
        assert edit.h_after == pytest.approx(
            float((4 * to_tensor(edit.image[None]).mean()).sigmoid()), abs=1e-6
        )
    assert all(y.tolist() == [faces.EXPRESSIONS.index(k) for k in ("sad", "happy")] for y in heard)


def test_without_a_label_the_picture_is_only_decoded_again(pair: NDArray[np.uint8]) -> None:
    settings = {**FAST, "use_label": False, "step_size": 0}
    (edit,) = repair(pair[0], settings=settings).result()
    assert edit.label is None and edit.l1 < 1 and "no visible change" in edit.flags


def test_a_closed_job_stops(pair: NDArray[np.uint8]) -> None:
    events: list[Preview] = []
    job = repair(pair, "sad", settings=FAST, callback=events.append)
    next(job)
    job.close()
    with pytest.raises(DiffInfError, match="closed"):
        job.result()
    assert len(events) == 1


SMALL = np.zeros((32, 32, 3), np.uint8)
GOOD = np.zeros((64, 64, 3), np.uint8)
UNLABELLED = DiffusionAutoencoder(
    Architecture(image_size=64, z_dim=8, widths=(8, 8), embed=8, encoder_width=8)
)


@pytest.mark.parametrize(
    "images,labels,more,message",
    [
        (SMALL, "sad", {}, "have 32 x 32 pixels; the generator draws 64 x 64"),
        ([GOOD, SMALL], "sad", {}, "Picture 1 has 32 x 32"),
        ([], "sad", {}, "no picture"),
        (GOOD.astype(float), "sad", {}, "array of float64"),
        (GOOD[..., :1], "sad", {}, "uint8 with shape"),
        (torch.full((3, 64, 64), 200.0), "sad", {}, r"from 200 to 200; floats in \[-1, 1\]"),
        (torch.full((3, 64, 64), torch.nan), "sad", {}, "from nan"),
        (torch.zeros(3, 64, 64, dtype=torch.uint8), "sad", {}, "torch.uint8"),
        (torch.zeros(64, 64, 3), "sad", {}, r"not \(3, S, S\)"),
        (GOOD, None, {}, "No labels are given"),
        (GOOD, ["sad", "sad"], {}, "2 labels for 1 pictures"),
        (GOOD, "angry", {}, "know the label 'angry'; it knows happy, neutral"),
        (GOOD, 2, {}, "need classes="),
        (GOOD, 2, {"classes": ["happy", "sad"]}, "2 is none of happy, sad"),
        (GOOD, True, {"classes": ["happy", "sad"]}, "True is none of"),
        (GOOD, 0, {"classes": ["happy", "angry"]}, "know the classes happy, angry"),
        (GOOD, "sad", {"settings": {"stepz": 3}}, "Unknown configuration key 'stepz'"),
        (GOOD, "sad", {"settings": {"tries": "all"}}, "tries=all needs"),
        (GOOD, "sad", {"settings": {"probe": "always"}}, "probe=always needs"),
        (GOOD, "sad", {"settings": {"w_sem": 1}}, "w_sem=1.0 needs"),
        (GOOD, "sad", {"generator": "gone.safetensors"}, "gone.safetensors does not exist"),
        (GOOD, "sad", {"generator": UNLABELLED}, "knows no labels"),
        (GOOD, "sad", {"device": "cuda:99"}, "cuda:99 cannot be used here"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    images: Any, labels: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(DiffInfError, match=message):
        repair(images, labels, **more)


def test_the_same_edit_as_in_a_run(run_copy: Path) -> None:
    """A run adds checks, not another way to edit: without h_omega the pictures are the same."""
    from diffinf_core.correction.repairer import Repairer
    from diffinf_core.runs.run import Run

    repairer = Repairer(Run.open(run_copy))
    config = RepairConfig(steps=3, w_si=0)
    rows = np.array([0, 1])
    *_, last, _ = repairer.repair(rows, config)
    assert isinstance(last, Preview)
    train = repairer.train
    labels = [train.classes[k] for k in train.labels[rows]]
    edits = repair(train.images(rows), labels, settings=config).result()
    for a, b in zip(last.images, edits, strict=True):
        assert np.abs(a.astype(int) - b.image.astype(int)).max() <= 1
