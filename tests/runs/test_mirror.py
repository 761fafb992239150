"""What is sent of a run to another machine: what is needed, and nothing that work must not know."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from diffinf_core.correction.parallel import repair_task
from diffinf_core.correction.repairer import Repairer
from diffinf_core.data.overlay import SentPictures
from diffinf_core.data.part import open_part, open_training
from diffinf_core.records import DiffInfError
from diffinf_core.runs.mirror import added_weights_at
from diffinf_core.runs.run import Run


def test_neither_the_truth_nor_pictures_nor_other_stages_are_sent(finished_run: Path) -> None:
    run = Run.open(finished_run)
    sent = repair_task(Repairer(run)).mirror
    assert not [name for name in sent.files if "truth" in name or "images" in name]
    stages = {name.split("/")[1].split("-")[0] for name in sent.files}
    assert stages == {"data", "classifier", "influence", "predictor", "judge", "people"}
    with sent.open() as there:
        assert there.root != run.root
        there.pictures = SentPictures(64)
        assert (open_training(there).ids == open_training(run).ids).all()
        with pytest.raises(DiffInfError, match="was not sent"):
            open_part(there, "test").images([0])
    assert not there.root.exists()


def test_sent_pictures_are_those_of_the_run_and_no_others(finished_run: Path) -> None:
    train = open_training(Run.open(finished_run))
    some = np.array([5, 2])
    pictures = SentPictures(train.size)
    pictures.hold(train.rows[some], train.images(some))
    assert (pictures.read(train.rows[[2, 5, 2]]) == train.images([2, 5, 2])).all()
    with pytest.raises(DiffInfError, match=r"Picture \d+ of the run was not sent"):
        pictures.read(train.rows[[2, 3]])


def test_a_part_of_a_split_holds_its_own_pictures(finished_run: Path) -> None:
    train = open_training(Run.open(finished_run))
    some = np.array([7, 0, 3])
    part = train.taken(some)
    assert not isinstance(part.pictures.base, np.memmap) and len(part.pictures) == 3
    assert part.ids.tolist() == train.ids[some].tolist()
    assert (part.images([2, 0]) == train.images([3, 7])).all()
    assert part.sample(1) == train.sample(0)


def test_added_weights_are_taken_from_elsewhere_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIFFINF_WEIGHTS", raising=False)
    with added_weights_at(tmp_path):
        assert os.environ["DIFFINF_WEIGHTS"] == str(tmp_path)
    assert "DIFFINF_WEIGHTS" not in os.environ
