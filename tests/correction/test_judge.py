"""The judge of a run: published networks where they know the classes, the cross-fitted one beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffinf_core.config import RunConfig, make_config
from diffinf_core.correction import cross_fitted, face_judge
from diffinf_core.correction.face_classes import KnownAges, KnownExpressions
from diffinf_core.correction.face_judge import (
    FaceAges,
    FaceJudge,
    expression_networks,
    expression_probabilities,
)
from diffinf_core.correction.judge import JUDGE, Judge, judge_name
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.data.rendered.demo import write_demo_faces
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from tests.correction.judges import place_judges


def config_of(folder: Path, label: str, over: Mapping[str, Any] | None = None) -> RunConfig:
    """A run on a folder of drawings."""
    data = {"source": "folder", "path": str(folder), "label_column": label, "image_size": 64}
    return make_config("demo", {"data": data, **(over or {})})


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawings")
    for _ in write_demo_faces(folder, 120, seed=1, size=64, workers=1):
        pass
    return folder


def computed(root: Path, config: RunConfig) -> Run:
    """A run with its data and its judge."""
    run = Run.prepare(root, config)
    for stage in (DATA, JUDGE):
        for _ in stage.compute(run):
            pass
    return run


@torch.no_grad()
def test_two_networks_are_one_judge_of_expressions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_judges(tmp_path, monkeypatch)
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    names = ("sad", "happy")
    nets = expression_networks()
    assert len(nets) == 2
    both = expression_probabilities(nets, names, x)
    torch.testing.assert_close(both.sum(1), torch.ones(3, dtype=both.dtype))
    parts = [expression_probabilities([net], names, x) for net in nets]
    mean = (parts[0] * parts[1]).sqrt()
    torch.testing.assert_close(both, mean / mean.sum(1, keepdim=True))
    np.testing.assert_allclose(
        FaceJudge(KnownExpressions(names), torch.device("cpu")).judge(x), both.numpy()
    )
    (tmp_path / "mini-xception.safetensors").unlink()
    (only,) = expression_networks()
    torch.testing.assert_close(expression_probabilities([only], names, x), parts[0])


@torch.no_grad()
def test_two_networks_are_one_judge_of_ages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_judges(tmp_path, monkeypatch)
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    ages = FaceAges()
    assert ages.second is not None
    torch.testing.assert_close(ages(x)[0], (ages.first(x)[0] + ages.second.expected(x)) / 2)
    known = KnownAges((1, 0), (-np.inf, 30.0, np.inf))
    judge = FaceJudge(known, torch.device("cpu"))
    np.testing.assert_allclose(
        judge.judge(x), known.probabilities(ages(x)[0].double().numpy(), face_judge.AGE_SPREAD)
    )
    (tmp_path / "dlib-age.safetensors").unlink()
    torch.testing.assert_close(FaceAges()(x)[0], ages.first(x)[0])


@pytest.mark.parametrize("label", ["expression", "age"])
def test_a_published_judge_judges_and_the_cross_fitted_one_stays(
    label: str, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_fitted, "EPOCHS", 1)
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path / "weights"))
    config = config_of(drawings, label)
    without = Run.prepare(tmp_path / "run", config)
    key = JUDGE.key(without)
    place_judges(tmp_path / "weights", monkeypatch)
    run = computed(tmp_path / "run", config)
    assert JUDGE.key(run) != key  # other weights, another judge
    train = open_training(run)
    figures = JUDGE.folder(run).figures
    assert "published networks (face-api and" in judge_name(run) == figures["judge"]
    assert 0 <= figures["published_agreement_with_labels"] <= 1
    judge, x, rows = Judge(run), train.tensors(np.arange(4)), np.arange(4)
    p = judge.judge(x, rows)
    assert judge.second is not None and p.shape == (4, len(train.classes))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(judge.second.judge(x, rows).sum(1), 1, rtol=1e-6)
    if label == "expression":
        nets = expression_networks()
        with torch.no_grad():
            expected = expression_probabilities(nets, [c.lower() for c in train.classes], x)
        np.testing.assert_allclose(p, expected.numpy(), rtol=1e-5)
    else:
        # on random networks any cuts do; they are fitted once and read again
        assert (JUDGE.folder(run) / "ages.json").is_file()
    # a run that asks for the cross-fitted one gets it alone
    alone = config_of(drawings, label, {"judge": {"network": "cross-fitted"}})
    assert JUDGE.key(Run(run.root, alone)) == key
    assert "cross-fitted" in judge_name(Run(run.root, alone))


def test_classes_that_no_network_knows_are_one_sentence(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_fitted, "EPOCHS", 1)
    place_judges(tmp_path / "weights", monkeypatch)
    over = {"judge": {"network": "faces"}}
    rows = (drawings / "labels.csv").read_text().splitlines()
    (drawings / "animals.csv").write_text(
        "\n".join(["file,label", *(f"{r.split(',')[0]},{'cat' if i % 2 else 'dog'}"
                                   for i, r in enumerate(rows[1:]))])
    )  # fmt: skip
    data = {"source": "folder", "path": str(drawings), "labels": "animals.csv", "image_size": 64}
    config = make_config("demo", {"data": data, **over})
    with pytest.raises(
        DiffInfError, match=r"No published network knows the classes cat, dog: say by"
    ):
        computed(tmp_path / "run", config)
    auto = make_config("demo", {"data": data})
    assert "cross-fitted" in judge_name(computed(tmp_path / "auto", auto))
    mapped = {**over["judge"], "classes": {"cat": "happy", "dog": "20-30"}}
    with pytest.raises(DiffInfError, match="No published network knows"):
        computed(tmp_path / "mixed", make_config("demo", {"data": data, "judge": mapped}))
    fine = {**over["judge"], "classes": {"cat": "happy", "dog": "sad"}}
    run = computed(tmp_path / "fine", make_config("demo", {"data": data, "judge": fine}))
    assert "mini-XCEPTION" in judge_name(run)
