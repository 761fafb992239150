"""The comparison of a run: what it says, what it warns of, and what it never shows."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffinf_core.cli.app import app
from diffinf_core.config import change
from diffinf_core.data.truth import open_truth
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.experiments.comparison import (
    Comparison,
    calibration,
    changed,
    confusion,
    histories,
    tidy,
)
from diffinf_core.experiments.differences import measure
from diffinf_core.experiments.fairness import cells, subgroups
from diffinf_core.experiments.retrain import arm
from diffinf_core.records import DiffInfError
from diffinf_core.report import compare_plots, fairness, verdict
from diffinf_core.report.compare_files import write_csv, write_html
from tests.arms import predictions, write_arms
from tests.forks import diffinf

SHARES = {"noisy": 0.5, "removal": 0.6, "repaired": 0.95}


def comparison(
    right: dict[str, list[np.ndarray]],
    labels: np.ndarray,
    table: pd.DataFrame | None = None,
    classes: tuple[str, ...] = ("x", "y"),
    **fields: object,
) -> Comparison:
    """A comparison of arms by which pictures each seed gets right."""
    p = {
        arm: np.stack([predictions(labels, len(classes), r) for r in seeds]).astype(np.float32)
        for arm, seeds in right.items()
    }
    groups = subgroups(pd.DataFrame() if table is None else table)
    values: dict[str, object] = {"clean": True, "people": None, **fields}
    return Comparison(
        key="k",
        classes=classes,
        ids=np.array([f"{i:012x}" for i in range(len(labels))]),
        labels=labels,
        probabilities=p,
        n_train=dict.fromkeys(p, 100),
        groups=groups,
        measured=measure(labels, p, classes, groups | cells(groups, labels, classes)),
        **values,  # type: ignore[arg-type]
    )


@pytest.fixture
def compared(run_copy: Path) -> OpenRun:
    """A run with three arms and two seeds, one of them plainly best."""
    engine = open_run(run_copy)
    engine = open_run(run_copy, change(engine.config, {"retrain": {"seeds": 2}}))
    write_arms(engine.folder, SHARES)
    return engine


# ------------------------------------------------------------------ words


def test_a_help_that_harms_a_subgroup_is_said() -> None:
    n = 600
    labels, dark = np.arange(n) % 2, np.arange(n) % 3 == 0
    rng = np.random.default_rng(0)
    noisy = rng.random(n) < 0.7
    helped = np.where(dark, rng.random(n) < 0.4, rng.random(n) < 0.99)
    table = pd.DataFrame({"skin": np.where(dark, "<dark>", "light")})
    c = comparison({"noisy": [noisy], "repaired": [helped]}, labels, table)
    said = fairness.harms(tidy(c, "noisy"))
    assert len(said) == 1
    assert said[0].startswith("Repaired helps overall (+")
    assert "but harms pictures with skin <dark>: -" in said[0]
    assert "200 pictures" in said[0] and "correction for 2 subgroup comparisons" in said[0]


def test_a_harm_within_chance_is_not_said() -> None:
    """The same direction everywhere, but too small for the number of comparisons."""
    n, rng = 400, np.random.default_rng(2)
    labels = np.arange(n) % 2
    noisy = rng.random(n) < 0.7
    helped = noisy | (rng.random(n) < 0.6)
    table = pd.DataFrame({"site": (np.arange(n) % 10).astype(str)})
    row = np.flatnonzero((table["site"] == "0").to_numpy())
    helped[row] = noisy[row]
    helped[row[noisy[row]][:2]] = False
    c = comparison({"noisy": [noisy], "repaired": [helped]}, labels, table)
    found = tidy(c, "noisy").query("arm == 'repaired' and name == '0'").iloc[0]
    assert found["difference"] == pytest.approx(-2 / 40)
    assert fairness.harms(tidy(c, "noisy")) == []


def test_sentences_claim_no_more_than_the_intervals() -> None:
    n, rng = 300, np.random.default_rng(4)
    labels = np.arange(n) % 2
    draw = lambda share: [rng.random(n) < share for _ in range(3)]  # noqa: E731
    c = comparison({"noisy": draw(0.5), "removal": draw(0.9), "repaired": draw(0.9)}, labels)
    noisy, removal = verdict.helped(c)
    assert noisy.startswith("Repaired against noisy: +") and "95 % interval" in noisy
    assert "leaves open" not in noisy
    assert removal.startswith("Repaired against removal: ")
    assert removal.endswith("which leaves open whether they differ.")
    assert "Accuracy alone does not prove a repair" in verdict.reading(c, None)


def test_coverage_says_what_is_left_out() -> None:
    labels = np.arange(60) % 2
    right = np.arange(60) % 3 > 0
    many = verdict.coverage(comparison({"a": [right, right]}, labels))
    assert "of the 2 seeds" in many and "not another draw of wrong labels" in many
    assert "as given" not in many and "independent" not in many
    one = verdict.coverage(comparison({"a": [right]}, labels, clean=False, people="person"))
    assert "With one seed" in one and "may be wrong as well" in one
    assert "Pictures with one person count as independent" in one


def test_lower_calibration_error_is_better_and_higher_accuracy_too() -> None:
    n, rng = 400, np.random.default_rng(6)
    labels = np.arange(n) % 2
    c = comparison({"noisy": [rng.random(n) < 0.4], "repaired": [rng.random(n) < 0.8]}, labels)
    row = verdict.arms_in_words(tidy(c, "noisy")).set_index("arm").loc["repaired"]
    for title in ("accuracy, %", "calibration error, %", "log loss", "kappa"):
        assert row[title].split("\n")[1].endswith(" better"), title
    back = verdict.arms_in_words(tidy(c, "repaired")).set_index("arm").loc["noisy"]
    assert back["log loss"].split("\n")[1].endswith(" worse")
    assert "\n" not in back.name and "\n" not in row["training pictures"]


# ------------------------------------------------------------------ figures


def test_confusion_calibration_and_changes_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    first = np.array([True, True, False, True, False, True])
    second = np.array([True, False, False, True, False, True])
    better = np.ones(6, bool)
    c = comparison(
        {"noisy": [first, second], "repaired": [better, better]}, labels, classes=("x", "y", "z")
    )
    np.testing.assert_allclose(confusion(c, "noisy"), [[1.5, 1.5, 0], [0, 1, 1], [0, 0, 1]])
    bins = calibration(c, "noisy")
    assert bins["n"].sum() == 12 and list(bins.loc[bins["n"] > 0, "n"]) == [12]
    assert bins["accuracy"].dropna().item() == pytest.approx(7 / 12)
    assert bins["confidence"].dropna().item() == pytest.approx(0.8)

    always = changed(c, "repaired", "noisy")
    assert list(always["id"]) == [c.ids[2], c.ids[4]]
    assert list(always["right_against"]) == [0, 0] and list(always["right_arm"]) == [2, 2]
    assert always["p_arm"].tolist() == pytest.approx([0.8, 0.8])
    assert always["says_against"].tolist() == ["y", "z"]
    assert len(changed(c, "noisy", "repaired")) == 0
    with pytest.raises(DiffInfError, match="no finished arm 'magic'"):
        changed(c, "magic", "noisy")


def test_most_seeds_is_more_than_half() -> None:
    labels = np.arange(4) % 2
    ones, none = np.ones(4, bool), np.zeros(4, bool)
    two_of_three = [none, none, np.array([True, True, False, False])]
    c = comparison({"a": [ones, ones, none], "b": two_of_three}, labels)
    assert len(changed(c, "a", "b", every_seed=False)) == 4
    assert len(changed(c, "a", "b")) == 0


def test_columns_of_two_to_twenty_values_are_subgroups() -> None:
    table = pd.DataFrame(
        {
            "one": ["a"] * 42,
            "two": ["a", ""] * 21,
            "twenty": [str(i % 20) for i in range(42)],
            "many": [str(i % 21) for i in range(42)],
            "recall": ["a", "b"] * 21,
        }
    )
    found = subgroups(table)
    assert {c for c, _ in found} == {"by two", "by twenty", "by recall"}
    assert ("by two", "(empty)") in found and found["by two", "(empty)"].sum() == 21


def test_the_page_is_whole_and_its_names_cannot_be_markup(tmp_path: Path) -> None:
    labels, rng = np.arange(120) % 2, np.random.default_rng(1)
    bad = "</script><script>alert(1)</script>"
    table = pd.DataFrame({bad: np.where(np.arange(120) % 3 == 0, bad, "other")})
    right = {k: [rng.random(120) < 0.7 for _ in range(2)] for k in ("noisy", "repaired")}
    c = comparison(right, labels, table, classes=(bad, "<img src=x onerror=alert(2)>"))
    history = pd.DataFrame({"arm": "noisy", "seed": 0, "epoch": [1, 2], "train_loss": [1.0, 0.5]})
    audit = fairness.audit(None, None, pd.DataFrame(), {}, None, c)
    write_html(c, history, None, "noisy", tmp_path / "c.html", audit)
    page = (tmp_path / "c.html").read_text()
    assert bad not in page and "<img src=x" not in page
    assert page.count("plotly-graph-div") == 6
    assert 'src="http' not in page and "cdn.plot.ly" not in page.split("<body>")[0]
    write_csv(c, "noisy", tmp_path / "c.csv")
    read = pd.read_csv(tmp_path / "c.csv")
    assert list(read.columns) == [
        "arm", "section", "name", "n", "n_train", "seeds", "value", "sd", "against", "difference",
        "low", "high", "p_holm",
    ]  # fmt: skip
    own = read[read["arm"] == "noisy"]
    assert own["difference"].isna().all() and own["value"].notna().all()
    other = read[(read["arm"] == "repaired") & (read["section"] == "metric")]
    assert (other["low"] < other["high"]).all() and other["p_holm"].isna().all()


def test_an_arm_has_its_colour_and_one_of_a_kind_unknown_has_one() -> None:
    from diffinf_core.report.plots import colour_of

    assert colour_of("repaired") != colour_of("noisy")
    assert colour_of("a rival").startswith("#") and colour_of("a rival") == colour_of("a rival")


def test_hollow_where_the_interval_holds_zero() -> None:
    n, rng = 300, np.random.default_rng(8)
    labels = np.arange(n) % 2
    arms = {k: [rng.random(n) < s] for k, s in (("noisy", 0.6), ("removal", 0.6), ("clean", 0.99))}
    c = comparison(arms, labels)
    figure = compare_plots.gains(tidy(c, "noisy"), "noisy")
    assert list(figure.data[0].y) == ["removal", "clean"]
    assert list(figure.data[0].marker.symbol) == ["circle-open", "circle"]


# ------------------------------------------------------------------ a run


def test_a_run_compares_its_arms_and_keeps_the_result(compared: OpenRun) -> None:
    found = compared.compare.comparison()
    assert found.arms == ("noisy", "removal", "repaired") and found.reference == "noisy"
    assert compared.compare.comparison() is found
    arms = compared.report()["arms"]
    for name in found.arms:
        at = found.measured.index("metric", "accuracy")
        assert found.measured.value(name, at) == pytest.approx(arms[name]["accuracy"], abs=1e-6)
    words = compared.compare.in_words("removal")
    assert list(words["arms"]["arm"]) == list(found.arms)
    assert set(compared.compare.plots("repaired", "noisy")) == {
        "gains", "confusions", "reliability", "classes", "subgroups", "courses", "agreement",
    }  # fmt: skip
    with pytest.raises(DiffInfError, match="no finished arm 'magic'"):
        compared.compare.plots("magic", "noisy")
    engine = open_run(compared.folder.root, change(compared.config, {"retrain": {"seeds": 1}}))
    assert (
        engine.compare.comparison().measured.seeds == 1 and engine.compare.comparison() is not found
    )


def test_the_demos_other_attribute_is_a_subgroup_of_the_test_split_only(compared: OpenRun) -> None:
    assert set(compared.compare.comparison().columns) == {"by skin", "by age"}
    truth = open_truth(compared.folder, "benchmark")
    assert "age" not in compared.training.table and "age" not in truth.test().table
    known = truth.test_columns()
    source = pd.read_csv(compared.folder.root / "faces" / "labels.csv", dtype=str).set_index("file")
    files = truth.test().table["file"]
    assert list(known["age"]) == list(source["age"].loc[files])


def test_the_audit_follows_ranking_edits_decisions_and_arms(compared: OpenRun) -> None:
    rows = compared.compare.audit().training
    whole = rows[rows["class"] == ""]
    assert set(whole["column"]) == {"label", "skin"}
    for column, part in whole.groupby("column"):
        assert part["n"].sum() == len(compared.training), column
        assert sum(round(r[0] * n) for r, n in zip(part["edited"], part["n"], strict=True)) == len(
            compared.queue
        )
    skin = rows[(rows["column"] == "skin") & (rows["class"] != "")]
    assert skin["n"].sum() == len(compared.training), "classes within groups are all of them"
    assert (rows["decided"] == 0).all() and rows["accepted"].isna().all()
    assert rows["wrong"].notna().all(), "the demo's truth is known"
    sample = str(compared.queue["id"].iloc[0])
    compared.review.decide(sample, "accept", "ann", compared.queue["version"].iloc[0])
    found = compared.compare.audit()
    label = compared.queue["label"].iloc[0]
    own = found.training[(found.training["column"] == "label") & (found.training["decided"] == 1)]
    assert own["value"].tolist() == [label] and own["accepted"].iloc[0][0] == 1
    assert set(found.arms) == {"noisy", "removal", "repaired"} and found.notes == ()
    assert set(found.test["section"]) >= {"by skin", "by age", "recall"}


def test_an_unreadable_arm_leaves_the_rest_of_the_audit(compared: OpenRun) -> None:
    file = arm("removal", 1).folder(compared.folder) / "test_probabilities.npy"
    file.write_bytes(b"no array")
    found = compared.compare.audit()
    assert len(found.training) and found.test.empty and "retrain this arm again" in found.notes[0]
    assert compared.report()["subgroups"]["notes"] == list(found.notes)


def test_the_report_shows_groups_as_text_json_and_page(compared: OpenRun, tmp_path: Path) -> None:
    compared.folder.store()
    root, page = str(compared.folder.root), tmp_path / "c.html"
    text = CliRunner().invoke(app, ["report", root], env={"COLUMNS": "200"})
    assert text.exit_code == 0, text.output
    for title in ("subgroups of the training split", "change against noisy", "subgroups by arm"):
        assert title in text.output
    value = compared.compare.audit().training["value"].iloc[-1]
    assert f"class: {compared.training.classes[0]}" in text.output
    assert f"skin: {value}, {compared.training.classes[0]}" in text.output
    found = json.loads(CliRunner().invoke(app, ["report", root, "--json"]).output)["subgroups"]
    audit = compared.compare.audit()
    assert len(found["training"]) == len(audit.training) and len(found["test"]) == len(audit.test)
    assert found["arms"]["noisy"]["worst"] == pytest.approx(audit.arms["noisy"].worst)
    compared.compare.write(html=page)
    held = page.read_text()
    assert "what was flagged, edited and decided" in held and "equal-opportunity" in held
    words = compared.compare.in_words()
    assert len(words["audit"]) == len(audit.training) and len(words["fairness"]) == 3


def test_test_pictures_are_shown_and_nothing_else_is_or_can_be_done_to_them(
    compared: OpenRun,
) -> None:
    test = open_truth(compared.folder, "benchmark").test()
    sample = str(test.ids[3])
    (png,) = compared.compare.test_pictures([sample])
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), test.images([3])[0])
    with pytest.raises(DiffInfError, match="no test picture"):
        compared.compare.test_pictures([str(compared.training.ids[0])])
    for act in (
        lambda: compared.pictures.original(sample),
        lambda: compared.review.decide(sample, "keep", "me"),
        lambda: next(compared.repair.edit(sample)),
    ):
        with pytest.raises(DiffInfError, match="no training sample"):
            act()


def test_an_unreadable_arm_is_one_sentence(compared: OpenRun) -> None:
    file = arm("removal", 1).folder(compared.folder) / "test_probabilities.npy"
    file.write_bytes(b"no array")
    with pytest.raises(DiffInfError, match="retrain this arm again"):
        compared.compare.comparison()


def test_nothing_to_compare_is_a_sentence(run_copy: Path, tmp_path: Path, tiny_config) -> None:
    with pytest.raises(DiffInfError, match="No arm is retrained yet"):
        open_run(run_copy).compare.comparison()
    with pytest.raises(DiffInfError, match="start the run"):
        open_run(tmp_path / "new", tiny_config).compare.comparison()
    new = open_run(tmp_path / "new", tiny_config).report()["subgroups"]
    assert new["training"] == new["test"] == new["notes"] == [] and new["arms"] == {}


def test_retraining_notes_the_validation_accuracy_of_each_epoch(run_copy: Path) -> None:
    engine = open_run(run_copy)
    engine = open_run(run_copy, change(engine.config, {"retrain": {"arms": ["noisy"]}}))
    for _ in engine.retrain(workers=1):
        pass
    found = histories(engine.folder)
    assert list(found["epoch"]) == [1, 2] and found["val_accuracy"].between(0, 1).all()
    assert list(found.columns[:2]) == ["arm", "seed"]
    assert engine.compare.comparison().n_train == {"noisy": len(engine.training)}
    # one arm has nothing to differ from, and still has a page
    engine.compare.write(html=run_copy / "one.html")
    assert (run_copy / "one.html").read_text().count("plotly-graph-div") == 1
    assert "gains" not in engine.compare.plots("noisy", "noisy")


def test_the_command_line_writes_both_files(compared: OpenRun, tmp_path: Path) -> None:
    html, csv = tmp_path / "c.html", tmp_path / "c.csv"
    done = diffinf("report", str(compared.folder.root), "--html", str(html), "--csv", str(csv))
    assert done.returncode == 0, done.stderr
    assert html.stat().st_size > 1e6 and len(pd.read_csv(csv)) > 30
