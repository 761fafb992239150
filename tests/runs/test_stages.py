"""Keys, order, resume and status follow from what a stage declares."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from diffinf_core.config import change, make_config
from diffinf_core.engine.pipeline import every_stage
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs import stages as module
from diffinf_core.runs.files import write_text
from diffinf_core.runs.run import CONFIG_FILE, Run
from diffinf_core.runs.seal import present_seal
from diffinf_core.runs.stages import INDEX, Stage, Work, compute, outdated, status


class Line:
    """Three stages in a row, of which the second depends on a file outside of the run."""

    def __init__(self, root: Path) -> None:
        self.worked: list[str] = []
        self.weights = root / "weights.bin"

        def work(name: str) -> Callable[[Run], Work]:
            def steps(run: Run) -> Work:
                for i in range(3):
                    yield Progress(name, i, 3)
                write_text(self.named(name).folder(run) / "result", name)
                self.worked.append(name)
                return {"result": name}

            return steps

        a = Stage("a", work("a"), settings=lambda run: [run.config.classifier.epochs])
        b = Stage(
            "b",
            work("b"),
            inputs=(a,),
            settings=lambda run: [run.config.influence.tau, self._weights()],
            files=lambda run: [self.weights],
        )
        c = Stage("c", work("c"), inputs=(b,))
        self.stages: tuple[Stage, ...] = (a, b, c)

    def _weights(self) -> str:
        return self.weights.read_text() if self.weights.exists() else ""

    def named(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def change(self, name: str, **over: object) -> None:
        """Another declaration of a stage, and of those that read it."""
        changed: dict[str, Stage] = {}
        for stage in self.stages:
            inputs = tuple(changed[above.name] for above in stage.inputs)
            new = replace(stage, inputs=inputs, **(over if stage.name == name else {}))  # type: ignore[arg-type]
            changed[stage.name] = new
        self.stages = tuple(changed.values())


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.prepare(tmp_path / "run", make_config()).store()


def done(run: Run, line: Line, until: str | None = None) -> list[str]:
    """Compute; which stages had to work."""
    line.worked.clear()
    with run.lock():
        list(compute(run, line.stages, until))
    return list(line.worked)


def under(run: Run, **over: dict[str, object]) -> Run:
    """The same folder under other settings."""
    return Run(run.root, change(run.config, over))


def test_what_a_key_depends_on_may_change_while_a_stage_works(run: Run, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_text("before")

    def work(run: Run) -> Work:
        write_text(begun.path / "result", "made from before")
        journal.write_text("after")
        yield Progress("a", 1, 1)
        return {}

    stage = Stage("a", work, settings=lambda run: [journal.read_text()])
    begun = stage.folder(run)
    list(stage.compute(run))
    assert begun.done and not stage.done(run)


def test_stages_are_computed_in_order_and_once(run: Run, line: Line) -> None:
    with run.lock():
        events = list(compute(run, line.stages))
    assert line.worked == ["a", "b", "c"]
    assert [e.note.split(" in")[0] for e in events if e.note] == ["done"] * 3
    assert done(run, line) == []
    assert [e.note for e in compute(run, line.stages)] == ["done already"] * 3
    assert line.named("b").folder(run).figures["result"] == "b"
    assert line.named("b").folder(run).figures["seconds"] >= 0


def test_until_ends_it(run: Run, line: Line) -> None:
    assert done(run, line, "b") == ["a", "b"]
    assert status(run, line.stages) == {"a": True, "b": True, "c": False}


def test_a_setting_leads_to_what_depends_on_it_and_back(run: Run, line: Line) -> None:
    done(run, line)
    other = under(run, influence={"tau": 33.0})
    assert done(other, line) == ["b", "c"]
    assert done(run, line) == [] and done(other, line) == []
    assert done(under(run, review={"hold_minutes": 3.0}), line) == []


def test_changed_code_never_reuses_results(run: Run, line: Line) -> None:
    done(run, line)
    keys = [stage.key(run) for stage in line.stages]
    line.change("b", version=2)
    assert [stage.key(run) == key for stage, key in zip(line.stages, keys, strict=True)] == [
        True, False, False
    ]  # fmt: skip
    assert status(run, line.stages) == {"a": True, "b": False, "c": False}
    assert done(run, line) == ["b", "c"]
    line.change("b", version=1)
    assert done(run, line) == []


def test_a_stage_that_was_stopped_goes_on(run: Run, line: Line) -> None:
    events = compute(run, line.stages)
    while next(events).stage != "b":
        pass
    events.close()
    assert line.worked == ["a"] and not line.named("b").done(run)
    assert done(run, line) == ["b", "c"]


def test_a_stage_is_complete_only_with_its_parts(run: Run, line: Line) -> None:
    part = Stage("part", line.named("a").work)
    line.change("a", parts=lambda run: [part])
    done(run, line)
    assert status(run, line.stages)["a"] is False
    part.folder(run).finish()
    assert all(status(run, line.stages).values())


def test_new_code_of_a_step_leads_to_new_results(run: Run, line: Line) -> None:
    step = Stage("step", line.named("a").work)
    line.change("a", steps=(step,))
    done(run, line)
    line.change("a", steps=(replace(step, version=2),))
    assert done(run, line) == ["a", "b", "c"]
    assert line.named("a").folder(run).code == [1, 2]


def test_how_a_stage_is_computed_is_no_part_of_its_key(run: Run, tmp_path: Path) -> None:
    given: list[int] = []

    def work(run: Run, workers: int = 1) -> Work:
        given.append(workers)
        yield Progress("w", 0, 1)
        return {}

    stage = Stage("w", work)
    list(stage.compute(run, workers=4))
    list(stage.compute(run))
    assert given == [4]


# ---------------------------------------------------------------- runs made before


def test_a_run_made_by_another_version_says_so_in_one_sentence(run: Run, line: Line) -> None:
    done(run, line)
    assert outdated(run, line.stages) is None
    assert outdated(under(run, influence={"tau": 33.0}), line.stages) is None, "only other settings"
    line.change("b", version=2)
    sentence = outdated(run, line.stages)
    assert sentence is not None and sentence.count(".") == 1 and "'b'" in sentence
    assert "decisions and edits are kept" in sentence and str(run.root) in sentence
    done(run, line)
    assert outdated(run, line.stages) is None
    assert outdated(under(run, influence={"tau": 33.0}), line.stages) is None


def test_a_run_that_recorded_no_versions_has_the_first(run: Run, line: Line) -> None:
    done(run, line)
    for mark in (run.root / "stages").glob("*/done.json"):
        write_text(mark, json.dumps({"n": 1}))
    assert all(status(run, line.stages).values()) and outdated(run, line.stages) is None
    line.change("a", version=2)
    assert "'a'" in str(outdated(run, line.stages))
    new = make_config("demo", {"data": {"seed": 3}})
    assert outdated(Run.prepare(run.root.with_name("new"), new), line.stages) is None


# ---------------------------------------------------------------- status


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which keys are worked out from now on."""
    asked: list[str] = []
    key = Stage.key

    def counting(self: Stage, run: Run) -> str:
        asked.append(self.name)
        return key(self, run)

    monkeypatch.setattr(Stage, "key", counting)
    return asked


def test_status_costs_one_read_and_no_key(
    run: Run, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(run, line)
    asked = reads(monkeypatch)
    assert all(status(run, line.stages).values()) and asked == []


@pytest.mark.parametrize(
    "harm", ["settings", "weights", "version", "step", "folder", "index", "cut"]
)
def test_status_is_right_whatever_changed(run: Run, line: Line, harm: str) -> None:
    done(run, line)
    expected = {"a": True, "b": False, "c": False}
    now = run
    if harm == "settings":
        now = under(run, influence={"tau": 33.0})
    elif harm == "weights":
        line.weights.write_text("other weights")
    elif harm == "version":
        line.change("b", version=2)
    elif harm == "step":
        line.change("b", steps=(replace(line.named("b"), name="step", version=2),))
    elif harm == "folder":
        (line.named("b").folder(run) / "done.json").unlink()
    else:
        expected = dict.fromkeys("abc", True)
        (run.root / INDEX).write_text("" if harm == "cut" else json.dumps({"fingerprint": "x"}))
    assert status(now, line.stages) == expected
    done(now, line)
    assert all(status(now, line.stages).values())


def test_status_sees_that_the_code_of_a_part_changed(run: Run, line: Line) -> None:
    part = Stage("part", line.named("a").work)
    for version, complete in ((1, True), (2, False)):
        now = replace(part, version=version)
        line.change("a", parts=lambda run, now=now: [now], optional=(now,))
        if complete:
            now.folder(run).finish()
            done(run, line)
        assert status(run, line.stages)["a"] is complete


def test_status_follows_another_process(run: Run, line: Line) -> None:
    done(run, line, "a")
    other = Run.open(run.root)
    done(other, line)
    assert all(status(run, line.stages).values())


def test_a_key_that_cannot_be_known_yet_is_not_done(run: Run, line: Line) -> None:
    def unknown(run: Run) -> list[object]:
        raise DiffInfError("the classifier has no history yet")

    line.change("b", settings=unknown)
    done(run, line, "a")
    assert status(run, line.stages) == {"a": True, "b": False, "c": False}
    assert not line.named("b").done(run)


# ---------------------------------------------------------------- what is written when


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(root)): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
        for p in sorted(root.rglob("*"))
    }


def test_a_key_that_is_not_known_is_asked_for_again_only_when_a_stage_is_done(
    run: Run, line: Line
) -> None:
    asked: list[str] = []

    def unknown(run: Run) -> list[str]:
        asked.append("b")
        raise DiffInfError("There is no generator yet.")

    line.change("b", settings=unknown)
    for _ in range(3):
        assert status(run, line.stages) == {"a": False, "b": False, "c": False}
    assert len(asked) == 1
    with run.lock():
        list(compute(run, line.stages, "a"))
    asked.clear()
    for _ in range(3):
        assert status(run, line.stages) == {"a": True, "b": False, "c": False}
    assert len(asked) <= 1
    line.change("b", settings=lambda run: ["there"])
    assert status(under(run, influence={"tau": 33.0}), line.stages)["a"]


def test_opening_and_looking_write_nothing(run: Run, line: Line) -> None:
    done(run, line)
    before = contents(run.root)
    opened = Run.open(run.root)
    status(opened, line.stages)
    Run.prepare(run.root, change(run.config, {"influence": {"tau": 33.0}}))
    status(under(run, influence={"tau": 33.0}), line.stages)
    assert contents(run.root) == before


def test_settings_are_kept_when_work_begins_and_not_before(tmp_path: Path) -> None:
    root = tmp_path / "new"
    run = Run.prepare(root, make_config())
    assert not root.exists()
    with run.lock():
        assert Run.open(root).config == make_config()


def test_a_refused_command_leaves_the_settings_alone(run: Run) -> None:
    other = Run.prepare(run.root, change(run.config, {"influence": {"tau": 33.0}}))
    before = (run.root / CONFIG_FILE).read_bytes()
    with (
        run.lock(),
        pytest.raises(DiffInfError, match="Another process is computing"),
        other.lock(),
    ):
        pytest.fail("two hold the lock")
    assert (run.root / CONFIG_FILE).read_bytes() == before
    with other.lock():
        pass
    assert Run.open(run.root).config.influence.tau == 33.0


@pytest.mark.parametrize("early", [True, False])
def test_a_command_that_fails_before_its_work_leaves_the_settings_alone(
    run: Run, line: Line, early: bool
) -> None:
    """As with a generator of another size, which is seen only when it is loaded."""

    def failing(run: Run) -> Work:
        if not early:
            yield Progress("c", 0, 1)
        raise DiffInfError("the generator does not fit")

    done(run, line, "b")
    line.change("c", work=failing)
    other = Run.prepare(run.root, change(run.config, {"repair": {"w_id": 3.0}}))
    with pytest.raises(DiffInfError, match="does not fit"), other.lock():
        list(compute(other, line.stages))
    assert (Run.open(run.root).config == run.config) is early


def test_settings_whose_results_are_there_are_stored_at_the_end(run: Run, line: Line) -> None:
    done(run, line)
    other = Run.prepare(run.root, change(run.config, {"repair": {"w_id": 3.0}}))
    with other.lock():
        events = list(compute(other, line.stages))
    assert {event.note for event in events} == {"done already"}
    assert Run.open(run.root).config == other.config


def test_a_closed_generator_of_a_stage_closes_its_work(run: Run) -> None:
    closed: list[bool] = []

    def work(run: Run) -> Work:
        try:
            yield Progress("w", 0, 2)
            yield Progress("w", 1, 2)
        finally:
            closed.append(True)
        return {}

    for events in (1, 2):
        generator = Stage("w", work).compute(run)
        for _ in range(events):
            next(generator)
        generator.close()  # type: ignore[attr-defined]
        assert len(closed) == events


def test_an_opened_run_does_not_write_its_settings_over_newer_ones(run: Run) -> None:
    stale = Run.open(run.root)
    Run.prepare(run.root, change(run.config, {"influence": {"tau": 33.0}})).store()
    with stale.lock():
        pass
    assert Run.open(run.root).config.influence.tau == 33.0


def test_the_index_is_written_by_work_alone(
    run: Run, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(run, line)
    written: list[Path] = []
    monkeypatch.setattr(module, "write_json", lambda path, value: written.append(path))
    list(compute(run, line.stages))
    status(under(run, influence={"tau": 33.0}), line.stages)
    assert written == []
    apart = Run(run.root, under(run, influence={"tau": 33.0}).config, run.root / "elsewhere")
    list(compute(apart, line.stages, "a"))
    assert written == [], "an experiment's settings are not the run's"


def test_going_back_to_earlier_settings_makes_status_cheap_again(
    run: Run, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(run, line)
    done(under(run, influence={"tau": 33.0}), line)
    done(run, line)
    asked = reads(monkeypatch)
    assert all(status(Run.open(run.root), line.stages).values()) and asked == []


def test_status_under_settings_that_are_not_stored_is_worked_out_once(
    run: Run, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(run, line)
    other = under(run, influence={"tau": 33.0})
    status(other, line.stages)
    asked = reads(monkeypatch)
    assert status(other, line.stages) == {"a": True, "b": False, "c": False} and asked == []
    done(under(run, influence={"tau": 33.0}), line)
    assert all(status(other, line.stages).values())


# ---------------------------------------------------------------- the seal


def test_work_is_sealed_and_what_measures_it_is_not(run: Run, tmp_path: Path) -> None:
    secret, other = tmp_path / "labels.csv", tmp_path / "other.csv"
    for file in (secret, other):
        file.write_text("x")
    refused: dict[str, list[bool]] = {"made": [], "trained": [], "tested": []}

    def reading(file: Path) -> bool:
        try:
            return not file.read_text()
        except DiffInfError as error:
            assert "is closed to training" in str(error)
            return True

    def work(name: str) -> Callable[[Run], Work]:
        def steps(run: Run) -> Work:
            for i in range(2):
                refused[name] += [reading(secret), reading(other)]
                yield Progress(name, i, 2)
            refused[name] += [reading(secret), reading(other)]
            return {"n": 2}

        return steps

    def measure(run: Run) -> dict[str, bool]:
        return {"open": present_seal() is None and bool(secret.read_text())}

    made = Stage("made", work("made"), sealed=False, withheld=lambda run: [secret])
    trained = Stage("trained", work("trained"), inputs=(made,), measure=measure)
    tested = Stage("tested", work("tested"), inputs=(trained,))
    for stage in (made, trained, tested):
        for _ in stage.compute(run):
            assert present_seal() is None and secret.read_text() == "x"
    assert refused["made"] == [False, False] * 3
    assert refused["trained"] == refused["tested"] == [True, False] * 3
    assert trained.folder(run).figures["open"] and trained.folder(run).figures["n"] == 2


def test_only_the_stages_that_must_are_not_sealed() -> None:
    assert {stage.name for stage in every_stage() if not stage.sealed} == {
        "data",
        "arm-noisy",
        "retrain",
        "ablation",
    }
    for stage in every_stage():
        above = stage
        while above.inputs:
            above = above.inputs[0]
        assert above.name == "data", f"{stage.name} must close what the data stage withholds"
