"""The benchmark: every method and seed once, resumed where stopped, and a table that says what it means."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from diffinf_core.baselines import Method, Recipe, Task, make_method
from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.training import Fit
from diffinf_core.classifier.metrics import evaluate
from diffinf_core.experiments.benchmark import (
    Result,
    Row,
    benchmark_results,
    job_folder,
    run_benchmark,
    unfinished,
)
from diffinf_core.experiments.differences import Difference
from diffinf_core.experiments.suite import Table
from diffinf_core.records import DiffInfError
from diffinf_core.report.benchmark import order
from diffinf_core.report.benchmark_groups import group_lines, group_records, group_warnings
from diffinf_core.report.benchmark_rows import to_latex, to_markdown, to_table
from tests.baselines.blobs import Points, blob_task, blobs

SEEDS = (0, 1)


@dataclass(frozen=True)
class Blobs:
    """A problem that can be sent to another process."""

    name: str = "blobs"
    epochs: int = 3
    classes: Sequence[str] = ("a", "b", "c")
    noise_rate: float | None = 0.3
    samples: int = 150

    @property
    def recipe(self) -> Recipe:
        """A few epochs."""
        return Recipe(epochs=self.epochs, learning_rate=5e-3)

    def key(self, method: Method) -> str:
        """The same for every method."""
        return self.name

    def task(self, seed: int, method: Method) -> Task:
        """One noise file, another seed of the training."""
        task, _, _ = blob_task(self.samples, recipe=self.recipe, validation=blobs(60, 3, 7))
        return replace(task, seed=seed, noise_rate=self.noise_rate)

    def test(self) -> Points:
        """Clean points."""
        return blobs(120, 3, 9)

    def groups(self) -> Mapping[tuple[str, str], NDArray[np.bool_]]:
        """Two halves of the plane."""
        upper = (self.test().x[:, 1] > 0).numpy()
        return {("by half", "upper"): upper, ("by half", "lower"): ~upper}

    def wrong(self) -> NDArray[np.bool_]:
        """Which labels are wrong."""
        return blob_task(self.samples)[1]


ROWS = [Row(make_method("noisy")), Row(make_method("elr")), Row(make_method("loss_removal"))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark."""
    root = tmp_path_factory.mktemp("benchmark")
    events = list(run_benchmark(root, Blobs(), ROWS, SEEDS))
    assert (events[0].done, events[-1].done, events[-1].total) == (0, 6, 6)
    return root


def results(root: Path, epoch: str = "last") -> dict[str, Result]:
    """Rows by name."""
    rows = benchmark_results(root, Blobs(), ROWS, SEEDS, epoch)  # type: ignore[arg-type]
    return {row.name: row for row in rows}


def test_figures_are_those_of_the_predictions(finished: Path) -> None:
    problem, test = Blobs(), Blobs().test()
    for epoch in ("last", "best"):
        for row in ROWS:
            found = []
            for seed in SEEDS:
                task = problem.task(seed, row.method)
                folder = job_folder(finished, problem, row, seed)
                z = row.method.predictions(task, folder, test, best=epoch == "best")
                found.append(evaluate(test.labels, softmax(z, 1)))
            shown = results(finished, epoch)[row.name]
            for metric in ("accuracy", "auroc", "kappa_linear", "ece", "nll"):
                values = [f[metric] for f in found]
                assert shown.mean[metric] == pytest.approx(np.mean(values), abs=1e-5)
                assert shown.deviation is not None
                assert shown.deviation[metric] == pytest.approx(np.std(values, ddof=1), abs=1e-5)


def test_differences_are_paired_and_refer_to_plain_training(finished: Path) -> None:
    rows = results(finished)
    assert rows["noisy"].differences == {} and rows["noisy"].cost == 1
    elr = rows["elr"]
    gap = elr.mean["accuracy"] - rows["noisy"].mean["accuracy"]
    found = elr.differences["accuracy"]
    assert found.value == pytest.approx(gap) and found.low is not None and found.high is not None
    assert found.low <= found.value <= found.high
    assert rows["loss_removal"].cost is not None and rows["loss_removal"].cost > 1


def test_every_row_is_compared_with_the_repair(tmp_path: Path) -> None:
    rows = [*ROWS[:1], Row(make_method("repair")), Row(make_method("removal"))]
    list(run_benchmark(tmp_path, Blobs(epochs=1), rows, SEEDS))
    found = {r.name: r for r in benchmark_results(tmp_path, Blobs(epochs=1), rows, SEEDS)}
    noisy, ours, removal = found["noisy"], found["repair"], found["removal"]
    assert ours.behind is None and removal.behind is not None and noisy.behind is not None
    gap = ours.mean["accuracy"] - removal.mean["accuracy"]
    assert removal.behind.value == pytest.approx(gap)
    assert noisy.behind == ours.differences["accuracy"]
    said = order(Table(10, 0.2, "last", tuple(found.values()), ()))
    assert [text.split(",")[0] for text in said] == [
        "Self-influence removal minus Noisy", "DiffInf minus Noisy",
        "DiffInf minus Self-influence removal",
    ]  # fmt: skip
    sure = Difference(0.1, 0.05, 0.2, 0.01)
    for shown, word in ((sure, "holds"), (replace(sure, value=-0.1, low=-0.2, high=-0.05), "reversed"),
                        (replace(sure, low=-0.1), "not significant")):  # fmt: skip
        table = Table(10, 0.2, "last", (replace(noisy, behind=shown), ours), ())
        assert word in order(table)[0]


def test_a_finished_benchmark_has_nothing_to_do_and_a_new_seed_only_its_own(finished: Path) -> None:
    events = list(run_benchmark(finished, Blobs(), ROWS, SEEDS))
    assert [(e.done, e.total) for e in events] == [(6, 6)]
    problem = Blobs(name="other data")
    assert job_folder(finished, problem, ROWS[0], 0) != job_folder(finished, Blobs(), ROWS[0], 0)
    folders = {
        job_folder(finished, Blobs(epochs=e), Row(make_method("elr", beta=b)), s)
        for b in (0.7, 0.9)
        for e in (3, 4)
        for s in (0, 1)
    }
    assert len(folders) == 8


def test_a_benchmark_stopped_anywhere_ends_like_an_undisturbed_one(
    finished: Path, tmp_path: Path
) -> None:
    for count in (5, 30):
        events = run_benchmark(tmp_path, Blobs(), ROWS, SEEDS)
        for _ in range(count):
            next(events)
        events.close()  # type: ignore[attr-defined]
    list(run_benchmark(tmp_path, Blobs(), ROWS, SEEDS))
    for file in finished.rglob("test_*.npy"):
        assert file.read_bytes() == (tmp_path / file.relative_to(finished)).read_bytes()


def test_two_processes_give_the_same_bits(finished: Path, tmp_path: Path) -> None:
    events = list(run_benchmark(tmp_path, Blobs(), ROWS[:2], SEEDS, workers=2))
    assert (events[-1].done, events[-1].total) == (4, 4)
    files = list(tmp_path.rglob("test_last.npy"))
    assert len(files) == 4
    for file in files:
        assert file.read_bytes() == (finished / file.relative_to(tmp_path)).read_bytes()


def test_a_row_without_all_its_seeds_is_not_shown(finished: Path) -> None:
    assert benchmark_results(finished, Blobs(), ROWS, (0, 1, 2)) == []
    assert unfinished(finished, Blobs(), ROWS[:1], (0, 1, 2)) == [
        "Noisy is trained under 2 of 3 seeds."
    ]
    assert unfinished(finished, Blobs(), ROWS, SEEDS) == []
    one = benchmark_results(finished, Blobs(), ROWS[:1], (0,))
    assert one[0].deviation is None and "±" not in to_markdown(one)


def test_what_a_method_lacks_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    unknown, rows = Blobs(noise_rate=None, epochs=1), [*ROWS[:1], Row(make_method("promix"))]
    events = run_benchmark(tmp_path, unknown, rows, (0,))
    next(events)
    reason = "ProMix is left out: ProMix needs the fraction of wrong labels"
    (text,) = (t for t in unfinished(tmp_path, unknown, rows, (0,)) if "left out" in t)
    assert text.startswith(reason) and not list(tmp_path.rglob("*.pt"))
    list(events)
    assert [r.name for r in benchmark_results(tmp_path, unknown, rows, (0,))] == ["noisy"]
    with pytest.raises(DiffInfError, match="ProMix needs the fraction of wrong labels"):
        list(run_benchmark(tmp_path, unknown, rows[1:], (0,)))
    twice = [*ROWS, Row(make_method("elr", beta=0.9))]
    with pytest.raises(DiffInfError, match="'elr' is listed twice"):
        list(run_benchmark(tmp_path / "new", Blobs(), twice, SEEDS))
    with pytest.raises(DiffInfError, match="no picture of the class 'd'"):
        absent = Blobs(classes=("a", "b", "c", "d"))
        list(run_benchmark(tmp_path / "new", absent, ROWS, SEEDS))
    assert not (tmp_path / "new").exists()


def test_predictions_that_are_no_numbers_leave_one_row_out(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Broken(CrossEntropy):
        name = "broken"
        title = "Broken"

        def logits(self, nets: list[nn.Module], x: Tensor) -> Tensor:
            return super().logits(nets, x) * torch.nan

    rows, problem = [Row(Broken()), ROWS[1]], Blobs(epochs=1)
    for _ in range(2):
        list(run_benchmark(tmp_path, problem, rows, (0,)))
        assert [r.name for r in benchmark_results(tmp_path, problem, rows, (0,))] == ["elr"]
        (text,) = unfinished(tmp_path, problem, rows, (0,))
        assert text.startswith("Broken is left out: ") and "not finite" in text


def test_code_that_gives_other_results_trains_anew() -> None:
    @dataclass(frozen=True)
    class Mended(CrossEntropy):
        version = 2

    row = Row(make_method("noisy"))
    first = job_folder(Path("x"), Blobs(), row, 0)
    assert job_folder(Path("x"), Blobs(), Row(Mended()), 0) != first
    assert make_method("noisy").version == 1


def test_a_training_says_what_it_is(finished: Path) -> None:
    about = json.loads((job_folder(finished, Blobs(), ROWS[1], 1) / "config.json").read_text())
    assert (about["method"], about["preset"], about["seed"]) == ("elr", "matched", 1)
    assert about["options"]["beta"] == 0.7 and about["recipe"]["epochs"] == 3


def test_any_row_can_be_the_reference(finished: Path) -> None:
    found = {r.name: r for r in benchmark_results(finished, Blobs(), ROWS, SEEDS, reference="elr")}
    usual = results(finished)
    gap = usual["elr"].differences["accuracy"].value
    assert found["elr"].differences == {} and found["noisy"].cost == 1
    assert found["noisy"].differences["accuracy"].value == pytest.approx(-gap)
    # the paper's order is not read off differences to another row
    removal = replace(found["loss_removal"], name="removal")
    table = Table(10, 0.2, "last", (found["noisy"], removal), ())
    assert order(table, "elr") == [] and len(order(table)) == 1


def test_tables(finished: Path) -> None:
    rows = list(results(finished).values())
    text = to_markdown(rows).splitlines()
    assert len(text) == 2 + len(ROWS) and len({line.count("|") for line in text}) == 1
    accuracy = f"{100 * rows[0].mean['accuracy']:.2f} ±"
    assert text[2].startswith(f"| Noisy | {accuracy}") and text[2].endswith("|  | 1.0 |")
    assert "Uses" not in text[0] and "Paper" not in text[0] and "Worst group (%)" in text[0]
    latex = to_latex(rows)
    assert latex.startswith(r"\begin{tabular}{lrrrrrrr}") and latex.endswith(r"\end{tabular}")
    assert r"Accuracy (\%)" in latex and latex.count(r"\\") == 1 + len(ROWS)
    assert "toprule" in latex and "%" not in latex.replace(r"\%", "")
    records = to_table(rows)
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert records[1]["method"] == "elr" and records[0]["accuracy_difference"] is None
    assert records[1]["accuracy_low"] <= records[1]["accuracy_high"]


def test_groups_of_every_row_with_their_changes(finished: Path) -> None:
    rows = list(results(finished).values())
    head, *lines = group_lines(rows)
    upper = int(Blobs().groups()["by half", "upper"].sum())
    assert head == ["Method", f"half = upper ({upper})", f"half = lower ({120 - upper})"]
    assert [line[0] for line in lines] == [row.title for row in rows]
    own = {r["name"]: r for r in rows[1].by_group if r["section"] == "by half"}
    assert lines[1][1].startswith(f"{100 * own['upper']['value']:.1f} ± ")
    assert f"; {100 * own['upper']['difference']:+.2f} [" in lines[1][1] and ";" not in lines[0][1]
    hits = [
        np.load(job_folder(finished, Blobs(), ROWS[1], s) / "test_last.npy").argmax(1)
        == np.asarray(Blobs().test().labels)
        for s in SEEDS
    ]
    member = Blobs().groups()["by half", "upper"]
    assert own["upper"]["value"] == pytest.approx(np.mean([h[member].mean() for h in hits]))
    records = group_records(rows)
    assert {r["section"] for r in records} == {"metric", "by half", "within half"}
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    tested = [r["p_holm"] for r in records if r["section"] == "by half" and r["method"] != "noisy"]
    assert len(tested) == 4 and None not in tested
    assert group_lines([]) == [] and group_warnings([]) == []
    assert group_lines([replace(rows[0], by_group=())]) == []


def test_a_row_that_harms_a_group_is_named_by_its_title(finished: Path) -> None:
    noisy, elr, _ = results(finished).values()

    def changed(row: dict) -> dict:
        harm = {"difference": -0.2, "low": -0.3, "high": -0.1, "p_holm": 0.01}
        return {**row, **harm} if row["name"] == "upper" else row

    worse = replace(elr, by_group=tuple(changed(dict(row)) for row in elr.by_group))
    (said,) = group_warnings([noisy, worse])
    assert said.startswith("ELR ") and "harms pictures with half upper: -20.0 points" in said
    assert "against noisy" in said and "2 subgroup comparisons" in said


def test_rows_of_a_preset_are_compared_with_those_of_the_same_preset(tmp_path: Path) -> None:
    """ELR's authors have a recipe of their own; plain training's is the shared one, under another name."""
    rows = [Row(make_method(n, "source"), "source") for n in ("noisy", "removal", "repair")]
    list(run_benchmark(tmp_path, Blobs(epochs=1), rows, (0,)))
    noisy, removal, ours = benchmark_results(tmp_path, Blobs(epochs=1), rows, (0,))
    assert (removal.name, removal.method) == ("removal (source)", "removal")
    assert "accuracy" in removal.differences and "accuracy" in ours.differences
    assert noisy.behind is not None and removal.cost is not None and ours.behind is None
    assert len(order(Table(10, 0.2, "last", (noisy, removal, ours), ()))) == 3


def test_presets_are_rows_of_their_own() -> None:
    row = Row(make_method("elr", "source"), "source")
    assert (row.name, row.title) == ("elr (source)", "ELR (source)")
    root = Path("x")
    matched = job_folder(root, Blobs(), Row(make_method("elr")), 0)
    assert job_folder(root, Blobs(), row, 0) != matched


def test_suspicion_is_measured_where_the_wrong_labels_are_known(finished: Path) -> None:
    rows, wrong = results(finished), Blobs().wrong()
    assert rows["noisy"].detection is None
    found = []
    for seed in SEEDS:
        outcome = ROWS[1].method.scores(job_folder(finished, Blobs(), ROWS[1], seed))
        assert outcome is not None and outcome.suspicion is not None
        found.append(average_precision_score(wrong, outcome.suspicion))
    detection = rows["elr"].detection
    assert detection is not None
    assert detection["average_precision"] == pytest.approx(np.mean(found))


def test_a_row_that_cannot_be_trained_is_left_out_and_says_why(tmp_path: Path) -> None:
    rows = [ROWS[0], Row(make_method("loss_removal", fraction=0.99)), ROWS[1]]
    events = list(run_benchmark(tmp_path, Blobs(epochs=1), rows, (0,)))
    assert (events[-1].done, events[-1].total) == (3, 3)
    shown = [r.name for r in benchmark_results(tmp_path, Blobs(epochs=1), rows, (0,))]
    assert shown == ["noisy", "elr"]
    (text,) = unfinished(tmp_path, Blobs(epochs=1), rows, (0,))
    assert text.startswith("Loss removal is left out: Loss removal would remove every sample")


def test_the_truth_is_closed_while_a_method_trains(tmp_path: Path) -> None:
    secret = tmp_path / "stages" / "data-0a" / "truth" / "labels.csv"
    secret.parent.mkdir(parents=True)
    secret.write_text("true")

    @dataclass(frozen=True)
    class Peeking(CrossEntropy):
        name = "peeking"
        title = "Peeking"

        def begin_epoch(self, fit: Fit) -> None:
            secret.read_text()

    rows = [Row(Peeking())]
    list(run_benchmark(tmp_path / "out", Blobs(), rows, (0,)))
    (text,) = unfinished(tmp_path / "out", Blobs(), rows, (0,))
    assert "is closed to training" in text
    secret.read_text()


def test_a_damaged_file_says_what_to_remove(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(finished, root)
    file = next((root / "elr").rglob("test_last.npy"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DiffInfError, match="damaged; remove the folder") as error:
        benchmark_results(root, Blobs(), ROWS, SEEDS)
    shutil.rmtree(file.parent)
    assert str(file.parent) in str(error.value)
    list(run_benchmark(root, Blobs(), ROWS, SEEDS))
    assert len(benchmark_results(root, Blobs(), ROWS, SEEDS)) == 3
