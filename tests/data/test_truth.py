"""The truth has one door, and sealed work finds it shut however it tries."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import diffinf_core.data
from diffinf_core.classifier import stage as classifier
from diffinf_core.correction import judge, repairer
from diffinf_core.data.ingest import source_table, truth_file
from diffinf_core.data.part import open_part, open_training, open_validation
from diffinf_core.data.truth import READERS, open_truth
from diffinf_core.engine import open_run
from diffinf_core.engine.pipeline import PIPELINE
from diffinf_core.influence import predictor
from diffinf_core.influence import stage as influence
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.review import queue
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import present_seal, seal, sealed, under_seal
from diffinf_core.runs.workers import thread_pool, worker_pool

Attempt = Callable[[Run], object]
STAGES = {stage.name: stage for stage in PIPELINE}


# ---------------------------------------------------------------- ways to the truth


def imported(run: Run) -> object:
    from diffinf_core.data import truth

    return truth.open_truth(run, "report").training()


def by_importlib(run: Run) -> object:
    return importlib.import_module("diffinf_core.data.truth").open_truth(run, "arms").test()


def by_attribute(run: Run) -> object:
    return diffinf_core.data.truth.open_truth(run, "rounds").table()


def by_modules(run: Run) -> object:
    return sys.modules["diffinf_core.data.truth"].Truth(run, "report").training()


def by_split(run: Run) -> object:
    return open_part(run, "test")


def by_open(run: Run) -> object:
    with open(truth_file(run)) as file:
        return file.read()


def by_text(run: Run) -> object:
    return truth_file(run).read_text()


def by_bytes(run: Run) -> object:
    handle = os.open(os.fsencode(truth_file(run)), os.O_RDONLY)
    os.close(handle)
    return handle


def by_pandas(run: Run) -> object:
    return pd.read_csv(truth_file(run))


def by_numpy(run: Run) -> object:
    return np.loadtxt(truth_file(run), str)


def by_fromfile(run: Run) -> object:
    return np.fromfile(truth_file(run), np.uint8)


def by_way_round(run: Run) -> object:
    return (truth_file(run).parent / ".." / "truth" / "truth.csv").read_bytes()


def by_link(run: Run) -> object:
    link = run.root / "harmless.csv"
    if not link.is_symlink():
        link.symlink_to(truth_file(run))
    return link.read_text()


def by_hard_link(run: Run) -> object:
    link = run.root / "other.csv"
    os.link(truth_file(run), link)
    text = link.read_text()
    link.unlink()
    return text


def by_renaming(run: Run) -> object:
    away = run.root / "away.csv"
    truth_file(run).rename(away)
    try:
        return away.read_text()
    finally:
        away.rename(truth_file(run))


def by_thread(run: Run) -> object:
    with thread_pool(1, "reader") as pool:
        return pool.submit(by_text, run).result()


WAYS: list[Attempt] = [
    imported, by_importlib, by_attribute, by_modules, by_split, by_open, by_text, by_bytes,
    by_pandas, by_numpy, by_fromfile, by_way_round, by_link, by_hard_link, by_renaming, by_thread,
]  # fmt: skip


@pytest.mark.parametrize("attempt", WAYS)
def test_a_seal_shuts_every_way_that_is_open_without_it(run_copy: Path, attempt: Attempt) -> None:
    run = Run.open(run_copy)
    attempt(run)
    with seal(), pytest.raises(DiffInfError, match=r"^[^\n]*is closed to training[^\n]*$"):
        attempt(run)
    attempt(run)


# ---------------------------------------------------------------- in every room


#: where the work of each stage, and of the review, opens the training split
ROOMS: dict[str, Any] = {
    "classifier": classifier,
    "influence": influence,
    "predictor": predictor,
    "judge": judge,
    "repair": repairer,
}


def trying(module: Any, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a module open the truth wherever it opens the training split."""

    def opens(run: Run) -> object:
        attempt(run)
        return open_training(run)

    monkeypatch.setattr(module, "open_training", opens)


@pytest.mark.parametrize("attempt", [imported, by_pandas, by_split, by_text])
@pytest.mark.parametrize("name", ROOMS)
def test_a_stage_that_opens_the_truth_fails(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch, name: str, attempt: Attempt
) -> None:
    engine = open_run(run_copy)
    (STAGES[name].folder(engine.folder) / "done.json").unlink()
    # the demo's shipped judge opens nothing when it is put in place
    if name == "judge":
        monkeypatch.setattr(judge, "profile_of", lambda run: open_training(run) and no_judge())
    trying(ROOMS[name], attempt, monkeypatch)
    with pytest.raises(DiffInfError, match="closed to training"):
        list(engine.compute(until=name))


def no_judge() -> Any:
    """A profile without a judge of its own."""

    class Profile:
        judge = None

    return Profile


@pytest.mark.parametrize("attempt", [imported, by_importlib, by_attribute, by_pandas, by_numpy])
def test_a_review_or_a_single_edit_that_opens_the_truth_fails(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch, attempt: Attempt
) -> None:
    run = Run.open(run_copy)
    sample = str(queue.build_queue(run)["id"][0])
    trying(queue, attempt, monkeypatch)
    for ask in (lambda: queue.build_queue(run), lambda: queue.unedited(run, [sample])):
        with pytest.raises(DiffInfError, match="closed to training"):
            ask()
    monkeypatch.setattr(repairer.Repairer, "perceptors", lambda self, config: attempt(run))
    with pytest.raises(DiffInfError, match="closed to training"):
        list(open_run(run_copy).repair.edit(sample, {"w_id": 7.0}))


def test_the_labels_before_the_noise_are_closed_to_every_stage(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_run(run_copy)
    assert source_table(engine.folder).exists()
    (STAGES["predictor"].folder(engine.folder) / "done.json").unlink()
    trying(predictor, lambda run: pd.read_csv(source_table(run)), monkeypatch)
    with pytest.raises(DiffInfError, match=r"labels\.csv is closed"):
        list(engine.compute(until="predictor"))


def test_a_classifier_has_its_validation_while_it_trains_and_its_test_figures_after(
    run_copy: Path,
) -> None:
    engine = open_run(run_copy)
    stage = STAGES["classifier"].folder(engine.folder)
    before = stage.figures["test"]
    for file in ("done.json", "final.pt"):
        (stage / file).unlink()
    with seal():
        assert len(open_validation(engine.folder))
    list(engine.compute(until="classifier"))
    assert stage.figures["test"] == before and stage.figures["start"] == "from scratch"


# ---------------------------------------------------------------- the door


def test_a_reader_gets_its_own_part_and_no_more(finished_run: Path) -> None:
    run = Run.open(finished_run)
    for reader, allowed in READERS.items():
        truth = open_truth(run, reader)
        for what in ("training", "test", "test_columns", "table"):
            if what in allowed:
                assert len(getattr(truth, what)())
            else:
                with pytest.raises(DiffInfError, match=f"{reader}.*{what}"):
                    getattr(truth, what)()
    with pytest.raises(DiffInfError, match=r"'repair' is not a reader.*report"):
        open_truth(run, "repair")


def test_what_was_opened_before_a_seal_is_shut_by_it(finished_run: Path) -> None:
    truth = open_truth(Run.open(finished_run), "report")
    with seal(), pytest.raises(DiffInfError, match="closed"):
        truth.training()
    assert truth.training() is not None


# ---------------------------------------------------------------- the seal itself


def test_only_the_truth_of_a_run_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "truth" / "stages" / "data" / "truth" / "truth.csv"
    file.parent.mkdir(parents=True)
    with seal():
        file.write_text("a user's folder may be called like this")
        assert file.read_text()
    named = tmp_path / "labels.csv"
    named.write_text("x")
    with (
        seal(named),
        pytest.raises(DiffInfError),
        seal(),
    ):  # a seal within adds, it takes nothing away
        named.read_text()
    assert named.read_text() == "x"


def test_the_seal_lies_over_the_steps_of_a_generator_and_not_over_its_consumer() -> None:
    closed: list[bool] = []

    def work() -> Iterator[Progress]:
        try:
            for i in range(3):
                assert present_seal() is not None
                yield Progress("work", i, 3)
        finally:
            closed.append(present_seal() is not None)

    for event in sealed(work()):
        assert present_seal() is None and event.total == 3
    interrupted = sealed(work())
    next(interrupted)
    interrupted.close()
    assert closed == [True, True] and present_seal() is None


def test_an_error_in_sealed_work_lifts_the_seal() -> None:
    @under_seal
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fails()
    assert present_seal() is None


def test_another_thread_may_read_while_one_is_sealed(finished_run: Path) -> None:
    run = Run.open(finished_run)
    inside, read = threading.Event(), threading.Event()
    seen: list[object] = []

    def report() -> None:
        assert inside.wait(60)
        seen.append(by_text(run))
        read.set()

    thread = threading.Thread(target=report)
    thread.start()
    with seal():
        inside.set()
        assert read.wait(60)
    thread.join()
    assert seen


def _in_worker(file: Path) -> str:
    try:
        return file.read_text()
    except DiffInfError as error:
        return str(error)


def test_a_worker_process_inherits_the_seal(finished_run: Path) -> None:
    file = truth_file(Run.open(finished_run))
    with seal(), worker_pool(1) as pool:
        assert "is closed to training" in pool.submit(_in_worker, file).result()
    with worker_pool(1) as pool:
        assert pool.submit(_in_worker, file).result().startswith("id,")
