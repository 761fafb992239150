"""What every method must do: learn, repeat itself bit for bit, resume, and bear odd data."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from diffinf_core.baselines import METHODS, Method, Outcome, Recipe, Task, make_method
from diffinf_core.baselines.registry import _RANGES
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json
from tests.baselines.blobs import Points, accuracy, blob_task, blobs, equal, mlp, train, weights

SEEDS = (0, 1, 2)
SHORT = Recipe(epochs=6, learning_rate=5e-3, batch_size=32)
#: no method's suspicion, but a ranking that comes from elsewhere
GIVEN = {"removal"}


@cache
def noisy_accuracy(seed: int) -> float:
    """Plain training's last epoch."""
    task, _, test = blob_task(seed=seed)
    with TemporaryDirectory() as folder:
        method = make_method("noisy")
        return accuracy(method, task, train(method, task, Path(folder)), test)


@pytest.mark.parametrize("name", list(METHODS))
def test_accuracy_is_not_below_plain_training_and_scores_find_wrong_labels(
    name: str, tmp_path: Path
) -> None:
    """30 % exact noise, three seeds: accuracy within its standard error, AUROC above 0.9."""
    method, gains = make_method(name), []
    for seed in SEEDS:
        task, wrong, test = blob_task(seed=seed)
        folder = train(method, task, tmp_path / str(seed))
        gains.append(accuracy(method, task, folder, test) - noisy_accuracy(seed))
        outcome = method.scores(folder)
        if outcome is None or outcome.suspicion is None or name in GIVEN:
            continue
        assert outcome.suspicion.shape == (1500,)
        assert roc_auc_score(wrong, outcome.suspicion) > 0.9
        if outcome.corrected is not None:
            assert set(outcome.corrected.tolist()) == {0, 1, 2}
    # 1500 test points a seed: one standard error of a difference is half a point
    assert np.mean(gains) > -0.005


def everything(folder: Path) -> dict[str, bytes]:
    """The files that a training leaves, without its networks and without the time that it took."""
    names = [p for p in folder.rglob("*") if p.suffix in (".csv", ".json") and "cost" not in p.name]
    return {str(p.relative_to(folder)): p.read_bytes() for p in names}


def same(a: Path, b: Path) -> bool:
    """Whether two trainings left the same, bit for bit."""
    files = [p.relative_to(a) for p in a.rglob("*.pt")]
    return everything(a) == everything(b) and all(equal(a / f, b / f) for f in files)


def short_task(seed: int = 0, classes: int = 3, n: int = 97, rate: float = 0.3) -> Task:
    """97 points in batches of 32: an odd one is left over."""
    return blob_task(n, classes, rate, seed, recipe=SHORT, validation=blobs(60, classes, 7))[0]


@pytest.mark.parametrize("name", list(METHODS))
def test_the_same_seed_gives_the_same_bits_and_another_does_not(name: str, tmp_path: Path) -> None:
    method = make_method(name)
    for before, (folder, seed) in enumerate((("a", 0), ("b", 0), ("c", 1))):
        torch.manual_seed(before)  # what was drawn before must not matter
        np.random.seed(before)
        train(method, replace(short_task(), seed=seed), tmp_path / folder)
    assert same(tmp_path / "a", tmp_path / "b")
    assert not equal(tmp_path / "a" / "final.pt", tmp_path / "c" / "final.pt")
    first = torch.rand(3)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(3), first), "the caller's generator was moved"


@pytest.mark.parametrize("name", list(METHODS))
def test_a_training_stopped_anywhere_ends_like_an_undisturbed_one(
    name: str, tmp_path: Path
) -> None:
    method, task = make_method(name), short_task()
    events = list(method.train(task, tmp_path / "whole"))
    assert events[-1].done == events[-1].total
    assert [e.done for e in events] == sorted(e.done for e in events)
    for share in (0.3, 0.55, 0.8):
        running = method.train(task, tmp_path / "cut")
        for event in running:
            if event.done >= share * event.total:
                break
        running.close()  # type: ignore[attr-defined]
        torch.randn(5)
        assert not (tmp_path / "cut" / "final.pt").exists()
    rest = list(method.train(task, tmp_path / "cut"))
    assert rest[0].done > 0.5 * rest[0].total, "finished epochs were trained again"
    assert same(tmp_path / "whole", tmp_path / "cut")
    assert not list(tmp_path.rglob("last.pt"))
    assert list(method.train(task, tmp_path / "cut")) == [], "nothing is left to do"


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("classes,rate", [(3, 0.0), (4, 0.0), (4, 0.2)])
def test_other_numbers_of_classes_and_no_noise_at_all(
    name: str, classes: int, rate: float, tmp_path: Path
) -> None:
    """A batch of two never holds every class; 129 points leave one over."""
    task = replace(
        short_task(classes=classes, n=129, rate=rate),
        recipe=Recipe(epochs=3, learning_rate=2e-3, batch_size=2),
        noise_rate=rate,
    )
    method = make_method(name)
    train(method, task, tmp_path)
    assert all(torch.isfinite(w).all() for w in weights(tmp_path / "final.pt"))
    z = method.predictions(task, tmp_path, blobs(31, classes, 3))
    assert z.shape == (31, classes) and np.isfinite(z).all()
    assert accuracy(method, task, tmp_path, blobs(300, classes, 3)) > 1.5 / classes


@pytest.mark.parametrize("name", list(METHODS))
def test_every_hyperparameter_at_its_ends_trains_or_is_refused(name: str, tmp_path: Path) -> None:
    task = replace(short_task(n=90), recipe=Recipe(epochs=2, learning_rate=2e-3, batch_size=32))
    for field in fields(METHODS[name]):
        for end in _RANGES.get(field.name, (0, 1e9)):
            where = tmp_path / f"{field.name}-{end:g}"
            with suppress(DiffInfError):  # a sentence; anything else fails the test
                method = make_method(name, **{field.name: end})
                train(method, task, where)
                outcome = method.scores(where)
                assert np.isfinite(method.predictions(task, where, blobs(9, 3, 1))).all()
                if outcome is not None and outcome.suspicion is not None:
                    assert np.isfinite(outcome.suspicion).all(), (field.name, end)


def conv(classes: int) -> nn.Module:
    """A small network with BatchNorm and dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 16), nn.BatchNorm1d(16), nn.Linear(16, classes),
    )  # fmt: skip


@pytest.mark.parametrize("name", list(METHODS))
def test_pictures_with_augmentation_batchnorm_and_dropout_resume_too(
    name: str, tmp_path: Path
) -> None:
    from diffinf_core.baselines.views import strong_view, weak_view

    y = np.arange(41) % 3
    x = torch.rand(41, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    data = Points(x, y)
    task = Task(
        data, 3, conv, Recipe(epochs=4, batch_size=20, learning_rate=1e-3), weak=weak_view,
        strong=strong_view, noise_rate=0.2, ranking=np.arange(41.0), refined=data,
    )  # fmt: skip
    method = make_method(name)
    train(method, task, tmp_path / "whole")
    running = method.train(task, tmp_path / "cut")
    for event in running:
        if event.done >= 0.6 * event.total:
            break
    running.close()  # type: ignore[attr-defined]
    train(method, task, tmp_path / "cut")
    assert same(tmp_path / "whole", tmp_path / "cut")


# ---------------------------------------------------------------- files and selection


def test_last_and_best_on_validation_are_kept_apart(tmp_path: Path) -> None:
    method = make_method("noisy")
    task = replace(short_task(), recipe=Recipe(epochs=12, learning_rate=0.05, batch_size=32))
    train(method, task, tmp_path)
    curve = [row["val_accuracy"] for row in read_json(tmp_path / "history.json")]
    assert task.validation is not None
    val = Points(task.validation.tensors(np.arange(60)), task.validation.labels)
    assert accuracy(method, task, tmp_path, val) == pytest.approx(curve[-1])
    assert accuracy(method, task, tmp_path, val, best=True) == pytest.approx(max(curve))
    assert read_json(tmp_path / "cost.json")["seconds"] > 0


def test_the_best_needs_a_validation_set_and_the_last_a_training(tmp_path: Path) -> None:
    method, task = make_method("noisy"), replace(short_task(), validation=None)
    with pytest.raises(DiffInfError, match=r"final\.pt; train it first"):
        method.predictions(task, tmp_path, blobs(3, 3, 0))
    train(method, task, tmp_path)
    with pytest.raises(DiffInfError, match=r"best\.pt; train it with a validation set"):
        method.predictions(task, tmp_path, blobs(3, 3, 0), best=True)
    with pytest.raises(DiffInfError, match="holds another network"):
        method.predictions(replace(task, classes=5), tmp_path, blobs(3, 3, 0))


def test_scores_survive_their_file(tmp_path: Path) -> None:
    given = Outcome(np.array([0.25, 1e-9]), np.array([True, False]), np.array([2, 0]))
    given.write(tmp_path)
    back = make_method("elr").scores(tmp_path)
    assert back is not None
    for a, b in zip(
        (given.suspicion, given.kept, given.corrected),
        (back.suspicion, back.kept, back.corrected),
        strict=True,
    ):
        assert a is not None and b is not None
        np.testing.assert_array_equal(a, b)
    assert make_method("noisy").scores(tmp_path / "nowhere") is None
    pd.read_csv(tmp_path / "train_scores.csv")


def test_removal_trains_on_the_rest_and_repair_on_the_refined_set(tmp_path: Path) -> None:
    task = short_task()
    assert task.ranking is not None
    kept = np.argsort(-task.ranking, kind="stable")[10:]
    rest = Points(task.data.tensors(np.sort(kept)), task.labels[np.sort(kept)])
    train(make_method("removal"), task, tmp_path / "removal")
    train(make_method("noisy"), replace(task, data=rest, ranking=None), tmp_path / "by_hand")
    assert equal(tmp_path / "removal" / "final.pt", tmp_path / "by_hand" / "final.pt")
    assert task.refined is not None
    train(make_method("repair"), task, tmp_path / "repair")
    train(make_method("noisy"), replace(task, data=task.refined), tmp_path / "refined")
    assert equal(tmp_path / "repair" / "final.pt", tmp_path / "refined" / "final.pt")


def test_no_method_reads_all_data_at_once(tmp_path: Path) -> None:
    class Counting(Points):
        largest = 0

        def tensors(self, positions: object) -> torch.Tensor:
            Counting.largest = max(Counting.largest, len(positions))  # type: ignore[arg-type]
            return super().tensors(positions)  # type: ignore[arg-type]

    task, _, _ = blob_task(700, recipe=Recipe(epochs=2, learning_rate=1e-3))
    data = Counting(task.data.tensors(np.arange(700)), task.labels)
    for name in METHODS:
        train(make_method(name), replace(task, data=data, refined=data), tmp_path / name)
    assert Counting.largest <= 256


# ---------------------------------------------------------------- bad input, in one sentence


@pytest.mark.parametrize("name", list(METHODS))
def test_too_few_samples_and_a_single_class_are_refused(name: str, tmp_path: Path) -> None:
    one = Points(torch.zeros(1, 2), np.array([0]))
    same_class = Points(torch.zeros(30, 2), np.zeros(30, int))
    for data, message in ((one, "1 samples"), (same_class, "one class")):
        task = Task(
            data, 3, mlp, SHORT, noise_rate=0.1, ranking=np.arange(float(len(data))), refined=data
        )
        with pytest.raises(DiffInfError, match=message) as error:
            train(make_method(name), task, tmp_path)
        assert "\n" not in str(error.value) and METHODS[name].title in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", list(METHODS))
def test_an_input_that_is_not_finite_stops_the_training(name: str, tmp_path: Path) -> None:
    task = short_task()
    x = task.data.tensors(np.arange(97)).clone()
    x[11] = torch.nan
    # the removed tenth must not hide it
    ranking = np.arange(97.0) - 1000 * (np.arange(97) == 11)
    bad = replace(
        task, data=Points(x, task.labels), ranking=ranking, refined=Points(x, task.labels)
    )
    with pytest.raises(DiffInfError, match=r"not finite|diverged in epoch"):
        train(make_method(name), bad, tmp_path)


def test_logits_that_are_not_finite_are_named_at_prediction(tmp_path: Path) -> None:
    method, task = make_method("noisy"), short_task()
    train(method, task, tmp_path)
    x = torch.zeros(5, 2)
    x[3] = torch.inf
    with pytest.raises(DiffInfError, match="not finite for sample number 3"):
        method.predictions(task, tmp_path, Points(x, np.zeros(5, int)))


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.needs.noise_rate])
def test_an_unknown_or_impossible_noise_rate_is_refused(name: str, tmp_path: Path) -> None:
    for rate, message in ((None, "fraction of wrong labels"), (1.5, r"not in \[0, 1\)")):
        with pytest.raises(DiffInfError, match=message):
            train(make_method(name), replace(short_task(), noise_rate=rate), tmp_path)
    option = {"promix": {"rho": 0.6}, "dividemix": {"unlabelled_weight": 1.0}}.get(
        name, {"forget_rate": 0.3}
    )
    given = make_method(name, **option)
    train(given, replace(short_task(), noise_rate=None), tmp_path)


def test_what_a_method_lacks_is_named(tmp_path: Path) -> None:
    task = short_task()
    cases = [
        ("removal", {"ranking": None}, "needs a ranking"),
        ("removal", {"ranking": np.zeros(3)}, "one finite score for each of the 97"),
        ("removal", {"ranking": np.full(97, np.nan)}, "one finite score"),
        ("repair", {"refined": None}, "trains on a set of its own"),
        ("noisy", {"classes": 2}, "numbered 0 to 1"),
        ("cleanlab", {"classes": 4}, "class number 3 has 0"),
    ]
    for name, change, message in cases:
        with pytest.raises(DiffInfError, match=message):
            train(make_method(name), replace(task, **change), tmp_path)
    labels = np.array([0, 1, 2, 0])
    few = replace(task, data=Points(torch.zeros(4, 2), labels), ranking=np.arange(4.0))
    with pytest.raises(DiffInfError, match="at least 8 samples"):
        train(make_method("aum"), few, tmp_path)
    with pytest.raises(DiffInfError, match="every sample of a class"):
        train(make_method("removal", fraction=0.25), replace(few, ranking=np.eye(4)[1]), tmp_path)


# ---------------------------------------------------------------- names, presets, your own


def test_a_method_of_your_own_is_one_small_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections.abc import Sequence
    from dataclasses import dataclass

    from torch import Tensor

    from diffinf_core.baselines import register
    from diffinf_core.baselines.training import Batch, Fit

    monkeypatch.setattr("diffinf_core.baselines.registry.METHODS", dict(METHODS))

    @register
    @dataclass(frozen=True)
    class GCE(Method):
        """Generalised cross-entropy, Zhang and Sabuncu 2018: (1 - p_y^q) / q."""

        q: float = 0.7
        name = "gce"
        title = "GCE"

        def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
            p = fit.forward(batch.x).softmax(1).gather(1, batch.y[:, None])
            return ((1 - p**self.q) / self.q).mean()

    task, _, test = blob_task(300, recipe=Recipe(epochs=15, learning_rate=5e-3))
    mine = make_method("gce", q=0.5)
    assert mine == GCE(q=0.5)
    assert accuracy(mine, task, train(mine, task, tmp_path), test) > 0.8
    with pytest.raises(DiffInfError, match="already"):

        @register
        class Other(Method):
            name = "gce"
            title = "Other"

    with pytest.raises(DiffInfError, match="no name"):
        register(Method)


def test_names_aliases_presets_and_options() -> None:
    from diffinf_core.baselines import recipe_of

    assert make_method("proself") == make_method("ProSelfLC") == make_method("proselflc")
    with pytest.raises(DiffInfError, match="Unknown method 'nothing'; known are noisy"):
        make_method("nothing")
    with pytest.raises(DiffInfError, match="no option 'lambda'; it has weight, beta"):
        make_method("elr", **{"lambda": 1})
    shared = Recipe()
    assert (shared.epochs, shared.batch_size, shared.learning_rate) == (100, 64, 1e-4)
    assert (shared.optimiser, shared.schedule) == ("adam", "constant")
    for name in METHODS:
        method = make_method(name, "source")
        assert recipe_of(method, "matched", shared) is shared
        assert recipe_of(method, "source", shared) == (method.source_recipe or shared)
    assert make_method("elr_plus", "source", beta=0.9) == METHODS["elr_plus"](
        ema_steps=40_000, beta=0.9
    )  # type: ignore[call-arg]


def test_every_method_says_what_it_is() -> None:
    for name, kind in METHODS.items():
        assert kind.name == name and kind.title and kind.cost >= 1
        assert sorted({k for turn in kind.turns for k in turn}) == list(range(kind.networks))


def test_progress_is_made_of_events(tmp_path: Path) -> None:
    events = list(make_method("noisy").train(short_task(), tmp_path, note="hello"))
    # 97 in batches of 32: three, the last with the odd one; and the end of each epoch
    assert len(events) == 6 * 4 and {e.total for e in events} == {18}
    assert all(isinstance(e, Progress) and e.note == "hello" for e in events)
    assert events[3].values["epoch"] == 1 and "val_accuracy" in events[3].values
