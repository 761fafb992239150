"""The table of label issues against cleanlab's own: the same columns, types and sense of the score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffinf_core.data.part import open_training
from diffinf_core.export.folder import export_folder
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.run import Run
from tests.export.ranked import rank
from tests.export.test_formats import CLASSES, made

#: what ``Datalab.get_issues("label")`` gives
COLUMNS = ["is_label_issue", "label_score", "given_label", "predicted_label"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A ranked run with decisions; read only."""
    run = made(tmp_path_factory.mktemp("issues"))
    rank(run)
    return run


def issues(run: Run, target: Path) -> pd.DataFrame:
    """The table of issues as pandas reads it."""
    for _ in export_folder(run, target, format="cleanlab"):
        pass
    return pd.read_csv(target / "issues.csv", keep_default_na=False, dtype={"id": str})


def test_the_columns_are_those_of_datalab_in_its_types(run: Run, tmp_path: Path) -> None:
    datalab = pytest.importorskip("cleanlab.datalab.datalab")
    pytest.importorskip("datasets")
    rng = np.random.default_rng(0)
    given = rng.choice(list(CLASSES), 60)
    lab = datalab.Datalab({"label": given.tolist()}, label_name="label", verbosity=0)
    chances = rng.dirichlet(np.ones(len(CLASSES)), 60)
    lab.find_issues(pred_probs=chances, issue_types={"label": {}})
    theirs = lab.get_issues("label")
    ours = issues(run, tmp_path / "out")
    assert list(theirs) == COLUMNS and set(COLUMNS) <= set(ours)
    for column in COLUMNS:
        assert ours[column].dtype.kind == theirs[column].dtype.kind, column
    for table in (theirs, ours):
        assert table["label_score"].between(0, 1).all()
        # lower is more suspicious
        by = table.groupby("is_label_issue")["label_score"].mean()
        assert by[True] < by[False]


def test_a_row_for_each_training_sample_with_what_became_of_it(run: Run, tmp_path: Path) -> None:
    table, train, ranked = issues(run, tmp_path / "out"), open_training(run), ranking(run)
    assert table["id"].tolist() == [str(name) for name in train.ids]
    assert table["given_label"].tolist() == [train.classes[i] for i in train.labels]
    assert table["is_label_issue"].tolist() == ranked["high"].tolist()
    assert table["label_score"].rank().tolist() == ranked["rank"].tolist()
    assert table["source"].value_counts()[["repaired", "relabelled", "dropped"]].tolist() == [
        3,
        1,
        1,
    ]
    for row in table.to_dict("records"):
        if row["source"] == "dropped":
            assert row["file"] == row["label"] == ""
        else:
            assert (tmp_path / "out" / row["file"]).is_file()
    assert set(table["predicted_label"]) == {""}  # no judge was trained
