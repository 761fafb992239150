"""The declared stages of a real run: opening only reads, and what another version made is computed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diffinf_core.config import change, make_config
from diffinf_core.correction.judge import JUDGE
from diffinf_core.data.ingest import DATA
from diffinf_core.data.lineage import FILE
from diffinf_core.engine import STAGES, open_run
from diffinf_core.engine.pipeline import PIPELINE, every_stage
from diffinf_core.experiments.retrain import RETRAIN, arm
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import CONFIG_FILE, Run
from diffinf_core.runs.stages import Stage


@pytest.fixture
def newer() -> Iterator[Callable[[Stage], None]]:
    """Pretends that a stage's code has changed since."""
    changed: list[tuple[Stage, int]] = []

    def raise_version(stage: Stage) -> None:
        changed.append((stage, stage.version))
        object.__setattr__(stage, "version", stage.version + 1)

    yield raise_version
    for stage, version in changed:
        object.__setattr__(stage, "version", version)


def contents(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p.relative_to(root)): (p.stat().st_mtime_ns, p.stat().st_size)
        for p in sorted(root.rglob("*"))
    }


def test_opening_a_run_and_asking_what_is_done_only_read(run_copy: Path) -> None:
    before = contents(run_copy)
    engine = open_run(run_copy)
    assert all(engine.status().values()) and engine.outdated() is None
    assert len(engine.ranking()) == len(engine.training)
    open_run(run_copy, change(engine.config, {"influence": {"tau": 30.0}})).status()
    assert contents(run_copy) == before


def test_a_run_of_another_version_opens_and_keeps_decisions_and_edits(
    run_copy: Path, newer: Callable[[Stage], None]
) -> None:
    engine = open_run(run_copy)
    first = engine.queue.reset_index().iloc[0]
    engine.review.decide(first["id"], "accept", "me", first["version"])
    edits = sorted((run_copy / "edits").glob("*/*"))
    for mark in (run_copy / "stages").glob("*/done.json"):  # from before versions were recorded
        write_json(mark, {k: v for k, v in read_json(mark).items() if k != "code"})
    newer(JUDGE)
    old = open_run(run_copy)
    assert old.status() == {name: name not in ("judge", "repair") for name in STAGES}
    sentence = old.outdated()
    assert sentence is not None and "'judge'" in sentence and str(run_copy) in sentence
    assert old.review.decisions()[first["id"]].version == first["version"]
    for _ in old.compute():
        pass
    assert all(old.status().values()) and old.outdated() is None
    assert old.review.decisions()[first["id"]].version == first["version"]
    assert set(edits) <= set((run_copy / "edits").glob("*/*"))


def test_a_round_of_another_version_is_never_read_from_the_source_again(tmp_path: Path) -> None:
    """Its data are what reviewers decided; the source folder knows nothing of that."""
    first = Run.prepare(tmp_path / "run", make_config()).store()
    later = first.root / "rounds" / "2-0123abcd"
    later.mkdir(parents=True)
    shutil.copy(first.root / CONFIG_FILE, later)
    write_json(later / FILE, {"round": 2, "parent": "", "earlier": {}})
    with pytest.raises(DiffInfError, match="later round"):
        next(DATA.compute(Run.open(later)))
    assert not (later / "stages").exists()


def test_retraining_is_a_stage_of_its_arms(run_copy: Path) -> None:
    config = change(
        open_run(run_copy).config, {"retrain": {"arms": ["noisy", "clean"], "epochs": 1}}
    )
    engine = open_run(run_copy, config)
    assert not RETRAIN.done(engine.folder)
    *_, last = engine.retrain(workers=1)
    assert last.stage == "retrain" and last.note.startswith("done in")
    assert RETRAIN.folder(engine.folder).figures["trainings"] == 2
    assert Run.open(run_copy).config == config
    assert [event.note for event in engine.retrain(workers=1)] == ["done already"]
    shutil.rmtree(arm("clean", 0).folder(engine.folder).path)
    assert not RETRAIN.done(engine.folder)


def test_every_declaration_says_what_it_does() -> None:
    titles = [stage.title for stage in every_stage()]
    assert all(titles) and all(title[0].islower() and title[-1] != "." for title in titles)
    assert {stage.name: stage.title for stage in PIPELINE} == STAGES
