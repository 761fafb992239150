"""A benchmark of a run from one command: sweeps, tables, files, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from diffinf_core.baselines import Recipe
from diffinf_core.cli.app import app
from diffinf_core.config import change, preset_for
from diffinf_core.data.part import open_training
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.experiments.benchmark import Result
from diffinf_core.experiments.run_problem import RunProblem
from diffinf_core.experiments.suite import (
    Benchmark,
    BenchmarkSettings,
    Table,
    cells,
    collect,
    load,
    store,
    trainings,
)
from diffinf_core.influence.stage import ranking
from diffinf_core.records import DiffInfError
from diffinf_core.report import benchmark as text
from diffinf_core.report import benchmark_files as files
from diffinf_core.report import benchmark_rows as rows
from diffinf_core.runs.files import digest, write_json
from diffinf_core.runs.run import Run
from diffinf_core.weights.files import shipped
from tests.conftest import TINY

METHODS = ("repair", "noisy", "removal", "random_removal")
SETTINGS = BenchmarkSettings(methods=METHODS, seeds=1, taus=(8.0, 20.0))


@pytest.fixture(scope="module")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenRun:
    """A run with a benchmark of four methods at two taus."""
    root = tmp_path_factory.mktemp("suite") / "run"
    shutil.copytree(finished_run, root)
    given = ["benchmark", str(root), "--methods", ",".join(METHODS), "--seeds", "1"]
    found = CliRunner().invoke(app, [*given, "--tau", "8, 20", "--no-augment"])
    assert found.exit_code == 0, found.output
    assert "| DiffInf | edits by a pretrained generator |" in found.output
    assert "Tau 20 %, noise 20 %" in found.output
    return open_run(root)


def test_every_cell_has_its_rows_and_shares_trainings_that_tau_does_not_touch(run: OpenRun) -> None:
    benchmark = run.benchmark.last()
    assert [(t.tau, t.epoch) for t in benchmark.tables] == [
        (8, "last"), (8, "best"), (20, "last"), (20, "best"),
    ]  # fmt: skip
    assert benchmark.settings == replace(SETTINGS, augment=False) and not benchmark.augment
    for table in benchmark.tables:
        assert {r.name for r in table.results} == set(METHODS) and table.unfinished == ()
    counts = {name: len(list((trainings(run.folder) / name).glob("*"))) for name in METHODS}
    assert counts == {"noisy": 1, "removal": 2, "random_removal": 2, "repair": 2}
    first, _, second, _ = ({r.name: r for r in t.results} for t in benchmark.tables)
    assert first["noisy"].mean == second["noisy"].mean
    assert first["repair"].mean != second["repair"].mean


def test_a_row_trains_on_what_the_run_says(run: OpenRun) -> None:
    train = open_training(run.folder)
    for cell in cells(run.folder, SETTINGS):
        methods = {row.method.name: row.method for row in cell.rows}
        high = int(ranking(cell.problem.run)["high"].sum())
        assert high == int(np.floor(cell.tau / 100 * len(train) + 0.5))
        task = cell.problem.task(0, methods["removal"])
        assert task.ranking is not None and task.refined is None
        np.testing.assert_array_equal(task.ranking, ranking(cell.problem.run)["score"])
        repaired = cell.problem.task(0, methods["repair"])
        assert repaired.ranking is None and repaired.refined is not None
        assert (repaired.refined.edited >= 0).sum() == high  # type: ignore[attr-defined]
        assert task.weak is None and task.noise_rate == 0.2
        assert methods["removal"].fraction == cell.tau / 100  # type: ignore[attr-defined]
    augmented = cells(run.folder, replace(SETTINGS, augment=True))[0].problem
    assert augmented.task(0, methods["noisy"]).weak is not None
    told = cells(run.folder, replace(SETTINGS, noise_rate=0.35))[0].problem
    assert told.task(0, methods["noisy"]).noise_rate == 0.35
    assert run.config.influence.tau == 8, "the run's own settings stay"


def test_the_run_is_left_as_it_was(run: OpenRun, finished_run: Path) -> None:
    assert (run.folder.root / "config.yaml").read_text() == (
        finished_run / "config.yaml"
    ).read_text()
    edits = {p.relative_to(run.folder.root) for p in run.folder.edits.rglob("edit.json")}
    assert edits == {
        p.relative_to(finished_run) for p in (finished_run / "edits").rglob("edit.json")
    }


def test_nothing_is_left_to_do_and_the_tables_come_back_as_stored(
    run: OpenRun, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, augment=False)
    before = {p: p.stat().st_mtime_ns for p in trainings(run.folder).rglob("*")}
    events = list(run.benchmark.run(settings, out=tmp_path))
    assert {(e.done, e.total) for e in events if e.stage == "benchmark"} == {(4, 4)}
    assert {p: p.stat().st_mtime_ns for p in trainings(run.folder).rglob("*")} == before
    benchmark = collect(run.folder, settings)
    store(benchmark, tmp_path / "again.json")
    assert load(tmp_path / "again.json") == benchmark == load(tmp_path / files.FILES[0])
    for name in files.FILES:
        assert (tmp_path / name).exists()
        if "json" not in name and "html" not in name:
            assert (tmp_path / name).read_bytes() == (run.benchmark.home / name).read_bytes()


def test_files_hold_the_figures(run: OpenRun) -> None:
    benchmark = run.benchmark.last()
    table = pd.read_csv(run.benchmark.file("csv"))
    assert len(table) == 16 and set(table["method"]) == set(METHODS)
    row = table[(table.method == "repair") & (table.tau == 20) & (table.epoch == "best")].iloc[0]
    result = next(r for r in benchmark.tables[3].results if r.name == "repair")
    assert row["accuracy"] == pytest.approx(result.mean["accuracy"])
    assert row["accuracy_low"] <= row["accuracy_difference"] <= row["accuracy_high"]
    page = run.benchmark.file("html").read_text()
    assert page.count("<h2>") == 7 and "plotly" in page.lower()
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"<link|(src|href)=", own) and not re.search(r"<script[^>]* src=", page)
    tex = run.benchmark.file("tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\bottomrule") == 7 and "±" not in tex
    json.loads(run.benchmark.file("json").read_text())
    titles = [figure.layout.title.text for figure in run.benchmark.plots()]
    assert len(titles) == 5 and "Accuracy over tau" in titles[-1]
    labels = {d["label"] for d in benchmark.distances}
    assert labels <= set(benchmark.data["classes"]) and benchmark.distances[0]["method"] == "repair"
    with pytest.raises(DiffInfError, match=r"no .*benchmark\.exe"):
        run.benchmark.file("exe")


def shaped(benchmark: Benchmark, classes: list[str], tau: float, noise: float) -> Benchmark:
    """A benchmark of other classes, tau and noise."""
    tables = tuple(replace(t, tau=tau, noise=noise) for t in benchmark.tables[:1])
    return replace(
        benchmark, data={**benchmark.data, "classes": classes}, tables=tables, distances=()
    )


def test_a_file_holds_what_each_method_thinks_of_each_training_sample(run: OpenRun) -> None:
    table = pd.read_csv(run.benchmark.home / files.SAMPLES, dtype={"id": str})
    training = open_training(run.folder)
    names = np.asarray(training.classes)
    assert set(table["method"]) == {"removal", "random_removal"}, "plain training judges no sample"
    for (tau, method), rows_ in table.groupby(["tau", "method"]):
        assert rows_["id"].tolist() == training.ids.tolist()
        assert rows_["label"].tolist() == names[training.labels].tolist()
        dropped = rows_["kept"] == 0
        assert dropped.sum() == round(tau / 100 * len(training)) and rows_["corrected"].isna().all()
        if method == "removal":
            score = ranking(run.folder)["score"].to_numpy()
            np.testing.assert_allclose(rows_["suspicion"], score, rtol=1e-6)
            assert rows_["suspicion"][dropped].min() >= rows_["suspicion"][~dropped].max()


def test_the_papers_figures_stand_beside_its_own_tasks_alone(run: OpenRun) -> None:
    benchmark = run.benchmark.last()
    age = ["Young", "Middle", "Old"]
    shown = text.markdown(shaped(benchmark, age, 10, 0.3))
    assert "83.37, 94.94, 0.78" in shown and "70.44, 85.48, 0.58" in shown
    expression = text.markdown(shaped(benchmark, ["sad", "happy", "neutral", "surprised"], 10, 0.2))
    assert "94.24, 99.38, 0.90" in expression
    for classes, tau, noise in ((age, 20, 0.3), (age, 10, 0.2), (["cat", "dog", "cow"], 10, 0.3)):
        assert "Paper" not in text.markdown(shaped(benchmark, classes, tau, noise))


def test_text_of_a_hostile_name_cannot_break_a_table() -> None:
    result = Result(
        "x", r"a|b_c & 5 % \x <img>", "last", 1, dict.fromkeys(("accuracy", "auroc", "kappa_linear"), 0.5),
        None, None, {},
    )  # fmt: skip
    assert rows.to_markdown([result]).splitlines()[2].startswith(r"| a\|b_c")
    latex = rows.to_latex([result])
    assert r"b\_c \& 5 \% \textbackslash{}x" in latex
    assert "<img>" not in files.table_html(rows.table_lines([result]))


def test_another_noise_is_injected_ranked_and_trained_beside_the_run(run: OpenRun) -> None:
    settings = BenchmarkSettings(methods=("noisy", "removal"), seeds=1, noises=(0.4,))
    out = run.benchmark.home / "noise"
    list(run.benchmark.run(settings, out=out))
    (last, _) = run.benchmark.last(out).tables
    assert last.noise == 0.4 and {r.name for r in last.results} == {"noisy", "removal"}
    (cell,) = cells(run.folder, settings)
    assert cell.stage == "influence" and cell.problem.task(0, cell.rows[0].method).noise_rate == 0.4
    wrong = cell.problem.wrong()
    assert wrong is not None and wrong.sum() == int(np.floor(0.4 * len(wrong) + 0.5))
    assert run.folder.config.noise.rate == 0.2 and open_run(run.folder.root).status()["repair"]


def test_what_cannot_be_is_said_before_anything_is_trained(run: OpenRun, tmp_path: Path) -> None:
    cases = [
        (BenchmarkSettings(methods=("nothing",)), "Unknown method 'nothing'"),
        (BenchmarkSettings(seeds=0), "at least one seed"),
        (BenchmarkSettings(taus=(0.0,)), "influence.tau"),
        (BenchmarkSettings(noises=(1.5,)), "noise.rate"),
        (BenchmarkSettings(noise_rate=-0.1), r"not in \[0, 1\)"),
        (BenchmarkSettings(methods=()), "at least one method"),
        (BenchmarkSettings(reference="sop"), "not among the methods"),
    ]
    for settings, message in cases:
        with pytest.raises(DiffInfError, match=message) as error:
            run.benchmark.run(settings)
        assert "\n" not in str(error.value)
    with pytest.raises(DiffInfError, match="'diffinf benchmark RUN' makes one"):
        run.benchmark.last(tmp_path)
    (tmp_path / files.FILES[0]).write_text('{"settings": {}}')
    with pytest.raises(DiffInfError, match="damaged or of another version"):
        run.benchmark.last(tmp_path)
    assert BenchmarkSettings(methods=("removal", "table1")).rows(10)[0].name == "noisy"
    assert len(BenchmarkSettings(methods=("all", "noisy")).rows(10)) == 23


def test_a_method_can_be_there_twice_with_other_hyperparameters() -> None:
    settings = BenchmarkSettings(
        methods=("proselflc", "proself:theta=0.3;sharpness=8", "removal:fraction=0.3")
    )
    plain, given, removal = settings.rows(20)
    assert plain.name == "proselflc" and given.name == "proselflc, theta 0.3, sharpness 8"
    assert (plain.method.theta, given.method.theta) == (0.5, 0.3)  # type: ignore[attr-defined]
    assert given.title == "ProSelfLC, theta 0.3, sharpness 8"
    assert removal.method.fraction == 0.3  # type: ignore[attr-defined]
    for specified, message in (
        ("elr:beta", "write method:option=value"),
        ("elr:gamma=1", "no option"),
        ("elr:beta=7", "between 0 and 1"),
        ("elr:beta=.nan", "finite number"),
        ("elr:beta=null", "valid number"),
        ("small_loss:ramp=abc", "valid integer"),
        ("small_loss:per_class=maybe", "valid boolean"),
        ("proselflc:target=typo", "'coupled' or 'detached'"),
        ("cleanlab:folds=1", "between 2 and 100"),
        ("sop:u_rate=-1", "at least 0"),
        ("dividemix:ramp=0", "between 1 and"),
        ("proselflc:sharpness=2000", "between 0 and 500"),
        ("elr:beta=0.3;beta=0.4", "'beta' twice"),
    ):
        with pytest.raises(DiffInfError, match=message) as raised:
            BenchmarkSettings(methods=(specified,)).rows(10)
        assert "\n" not in str(raised.value)
    (rate,) = BenchmarkSettings(methods=("sop:u_rate=1e-3",)).rows(10)
    assert rate.method.u_rate == 0.001  # type: ignore[attr-defined]
    same = (
        "proselflc",
        "proselflc:theta=0.5",
        "removal",
        "removal:fraction=0.1",
        "elr:beta=0.7;weight=3",
    )
    assert [r.name for r in BenchmarkSettings(methods=same).rows(10)] == [
        "proselflc", "removal", "elr, beta 0.7, weight 3",
    ]  # fmt: skip
    assert (
        BenchmarkSettings(methods=("noisy", "elr+"), reference="ELR+").rows(10)[0].name
        == "elr_plus"
    )


def test_what_the_run_spent_beforehand_stands_beside_the_cost_of_a_row(run: OpenRun) -> None:
    table = run.benchmark.last().tables[0]
    found = {r.name: r for r in table.results}
    assert found["noisy"].preparation is None and found["random_removal"].preparation is None
    removal, ours = found["removal"].preparation, found["repair"].preparation
    assert removal is not None and ours is not None and 0 < removal < ours
    line = next(x for x in run.benchmark.in_words()[0][1] if x[0] == "DiffInf")
    assert line[run.benchmark.in_words()[0][1][0].index("Preparation")] == f"{ours:.1f}"
    table_of = run.benchmark.in_words()[0][1]
    assert next(x for x in table_of if x[0] == "Noisy")[table_of[0].index("Preparation")] == ""


def test_a_generator_of_the_runs_own_pictures_is_no_foreign_one_wherever_it_lies(
    run_copy: Path, tmp_path: Path
) -> None:
    run = Run.open(run_copy)
    elsewhere = tmp_path / "elsewhere.safetensors"
    shutil.copy(shipped("generator"), elsewhere)
    card = json.loads(shipped("generator").with_suffix(".json").read_text())
    used = Run(run.root, change(run.config, {"repair": {"generator": str(elsewhere)}}), run.edits)
    for ids, foreign in (("0" * 16, True), (digest(open_training(run).ids.tolist()), False)):
        write_json(elsewhere.with_suffix(".json"), {**card, "data": {"ids": ids}})
        assert RunProblem(used).foreign_generator is foreign


def test_a_folder_whose_rate_nobody_knows_is_benchmarked_without_what_needs_it(
    finished_run: Path, tmp_path: Path
) -> None:
    small = {k: v for k, v in TINY.items() if k != "data"}
    data = {"source": "folder", "path": str(finished_run / "faces"), "label_column": "expression"}
    run = open_run(tmp_path / "run", preset_for("demo", {**small, "data": data}))
    settings = BenchmarkSettings(methods=("noisy", "promix", "oracle_removal", "clean"), seeds=1)
    run.benchmark.run(settings).result()
    table = run.benchmark.last().tables[0]
    assert [r.name for r in table.results] == ["noisy"]
    assert [text.split(":")[0] for text in table.unfinished] == [
        "ProMix is left out", "Oracle removal is left out", "All labels true is left out",
    ]  # fmt: skip
    assert "--noise-rate" in table.unfinished[0] and "true labels" in table.unfinished[1]
    # nothing was ranked or repaired for the rows that cannot be
    assert not run.status()["classifier"]
    # what nobody knows without noise is known with it
    swept = BenchmarkSettings(methods=("small_loss",), seeds=1, noises=(0.0, 0.2))
    run.benchmark.run(swept).result()
    shown = {t.noise: [r.name for r in t.results] for t in run.benchmark.last().tables}
    assert shown == {0.0: [], 0.2: ["small_loss"]}
    with pytest.raises(DiffInfError, match="give an estimate by --noise-rate"):
        run.benchmark.run(BenchmarkSettings(methods=("promix",), seeds=1)).result()
    (given,) = cells(run.folder, BenchmarkSettings(methods=("promix",), seeds=1, noise_rate=0.1))
    assert given.problem.known_rate == 0.1 and given.problem.lacks(given.rows[0].method) is None


def test_labels_that_are_known_to_be_right_have_a_rate_of_0(run_copy: Path) -> None:
    settings = BenchmarkSettings(methods=("small_loss", "noisy"), seeds=1, noises=(0.0,))
    benchmark = open_run(run_copy).benchmark.run(settings).result()
    (problem,) = {cell.problem for cell in cells(Run.open(run_copy), settings)}
    assert problem.known_rate == 0.0
    for table in benchmark.tables:
        assert [r.name for r in table.results] == ["noisy", "small_loss"], table.unfinished


def test_a_table_without_finished_rows_says_so_and_has_no_lines() -> None:
    table = Table(10, 0.2, "last", (), ("Noisy is trained under 0 of 3 seeds.",))
    data = {"name": "x", "classes": ["a", "b"], "n_train": 3, "n_test": 2, "clean_test": False}
    recipe = Recipe(epochs=1)
    benchmark = Benchmark(BenchmarkSettings(), data, recipe, False, (table,), ())
    shown = text.markdown(benchmark)
    assert "0 of 3 seeds" in shown and "| ---" not in shown and "as the data set came" in shown
    assert files.plots(benchmark) == [] and "Noisy is trained" in files.html(benchmark)
