"""What decisions do to the data, and that all that is made of it says the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.correction.edits import edit_folder, read_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.earlier import earlier_changes
from diffinf_core.data.ingest import source_folder
from diffinf_core.data.part import open_training
from diffinf_core.experiments.arms import build_arm
from diffinf_core.experiments.rounds import next_round, plan_round
from diffinf_core.export.dataset import RefinedDataset, read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.records import (
    ACTIONS,
    UNDECIDED,
    Choice,
    Decision,
    DiffInfError,
    Earlier,
    RefinedSample,
    RefinedSet,
    Sample,
    StandingEdit,
)
from diffinf_core.review.opening import open_journal, read_decisions
from diffinf_core.review.refine import refine, refined_set
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run

CLASSES = ("happy", "sad")


def decided(action: str, version: str | None = None, new: str | None = None) -> Decision:
    """A decision on the sample "a"."""
    return Decision("a", action, "ann", "2026-01-01T00:00:00+00:00", version, new)


def one(
    decision: Decision | None,
    undecided: str = "original",
    proposed: str | None = "v1",
    flagged: bool = False,
    before: Path | None = None,
    earlier: tuple[Earlier, ...] = (),
) -> RefinedSample:
    """What becomes of one sample, "a", labelled happy."""
    return refine(
        [Sample("a", "a.png", "happy", 0)],
        CLASSES,
        {} if proposed is None else {"a": proposed},
        {} if decision is None else {"a": decision},
        lambda sample, version: Path("edits", sample, version),
        undecided,
        {"a"} if flagged else (),
        {} if before is None else {"a": before},
        earlier,
    ).samples[0]


def new(version: str) -> StandingEdit:
    """An edit of this round."""
    return StandingEdit(version, Path("edits", "a", version))


@pytest.mark.parametrize(
    "action,version,label,edit,dropped",
    [
        ("accept", "v2", None, new("v2"), False),
        ("reject", None, None, None, False),
        ("keep", None, None, None, False),
        ("relabel", None, "sad", None, False),
        ("drop", None, None, None, True),
    ],
)
@pytest.mark.parametrize("undecided", UNDECIDED)
@pytest.mark.parametrize("proposed", [None, "v1"])
def test_a_decision_goes_before_every_policy(
    action: str,
    version: str | None,
    label: str | None,
    edit: StandingEdit | None,
    dropped: bool,
    undecided: str,
    proposed: str | None,
) -> None:
    sample = one(decided(action, version, label), undecided, proposed)
    assert sample.edit == edit and sample.dropped is dropped
    assert sample.label == (label or "happy") and sample.assigned == sample.current == "happy"


@pytest.mark.parametrize("decision", [None, decided("second_look")])
@pytest.mark.parametrize(
    "undecided,flagged,edit",
    [
        ("original", False, None),
        ("original", True, None),
        ("repaired", False, new("v1")),
        ("repaired", True, new("v1")),
        ("unflagged", False, new("v1")),
        ("unflagged", True, None),
    ],
)
def test_the_policy_says_what_becomes_of_the_undecided(
    decision: Decision | None, undecided: str, flagged: bool, edit: StandingEdit | None
) -> None:
    assert one(decision, undecided, flagged=flagged).edit == edit
    assert one(decision, undecided, proposed=None).edit is None


def test_an_earlier_edit_stands_until_another_is_accepted() -> None:
    folder = Path("rounds", "a", "v0")
    history = (Earlier("a", 1, "repaired", version="v0"),)
    for decision in (None, decided("keep"), decided("reject")):
        sample = one(decision, before=folder, proposed=None, earlier=history)
        assert sample.edit == StandingEdit("v0", folder, new=False) and sample.lineage == history
        assert sample.source == "repaired"
    assert one(decided("accept", "v2"), before=folder).edit == new("v2")


def test_the_label_that_the_data_set_came_with_is_kept_through_rounds() -> None:
    history = (
        Earlier("a", 1, "relabelled", before="sad", after="angry"),
        Earlier("a", 2, "relabelled", before="angry", after="happy"),
    )
    sample = one(None, proposed=None, earlier=history)
    assert (sample.assigned, sample.label, sample.source) == ("sad", "happy", "relabelled")
    back = one(decided("relabel", None, "sad"), proposed=None, earlier=history)
    assert (back.label, back.source) == ("sad", "original")


def test_counts_and_an_unknown_policy() -> None:
    samples = [Sample(name, f"{name}.png", "happy", 0) for name in "abcd"]
    decisions = {
        "a": decided("accept", "v1"),
        "b": decided("drop"),
        "c": decided("relabel", None, "sad"),
    }
    refined = refine(
        samples, CLASSES, {"a": "v1", "d": "v1"}, decisions, lambda s, v: Path(s, v), "original"
    )
    assert refined.counts() == {
        "original": 1, "repaired": 1, "relabelled": 1, "dropped": 1, "undecided": 1
    }  # fmt: skip
    assert [s.id for s in refined.kept] == ["a", "c", "d"] and refined.dropped == ("b",)
    with pytest.raises(DiffInfError, match=r"undecided must be one of .*not 'both'"):
        refine(samples, CLASSES, {}, {}, lambda s, v: Path(s, v), "both")


# ---------------------------------------------------------------- the renderings


def choices_for(run: Run) -> st.SearchStrategy[list[Choice]]:
    """Random decisions about every sample that can be decided on."""
    train, versions = open_training(run), read_json(REPAIR.folder(run) / "versions.json")
    edited = [s for s in train.ids.tolist() if s in versions]
    others = [s for s in train.ids.tolist() if s not in versions][:6]

    def choice(sample: str) -> st.SearchStrategy[Choice | None]:
        label = train.classes[train.labels[train.position(sample)]]
        wrong = [name for name in train.classes if name != label]
        options = [st.none()]
        for action in ACTIONS:
            if action == "accept":
                if sample in versions:
                    options.append(st.just(Choice(sample, action, versions[sample])))
            elif action == "relabel":
                options.append(
                    st.sampled_from(wrong).map(lambda n: Choice(sample, "relabel", None, n))
                )
            else:
                options.append(st.just(Choice(sample, action)))
        return st.one_of(options)

    return st.tuples(*map(choice, [*edited, *others])).map(
        lambda found: [c for c in found if c is not None]
    )


def picture_of(run: Run, sample: RefinedSample) -> np.ndarray:
    """The picture of a refined sample at working size, read from where it lies."""
    if sample.edit is None or not sample.edit.new:
        train = open_training(run)
        return train.images([train.position(sample.id)])[0]
    return read_edit(run, sample.id, sample.edit.version)


def check_data_set(run: Run, refined: RefinedSet, policy: str) -> None:
    data = RefinedDataset(run.root, policy)
    assert data.ids == [s.id for s in refined.kept]
    assert [data.classes[k] for k in data.targets] == [s.label for s in refined.kept]
    assert data.table["source"].tolist() == [s.source for s in refined.kept]
    for i, sample in enumerate(refined.kept):
        pixels = ((data[i][0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        assert (pixels == picture_of(run, sample)).all()


def check_export(run: Run, refined: RefinedSet, policy: str, target: Path) -> None:
    for _ in export_folder(run, target, policy):
        pass
    export = read_export(target)
    export.verify()
    assert export.table["id"].tolist() == [s.id for s in refined.kept]
    assert export.table["label"].tolist() == [s.label for s in refined.kept]
    assert export.table["assigned_label"].tolist() == [s.assigned for s in refined.kept]
    assert export.table["source"].tolist() == [s.source for s in refined.kept]
    assert set(export.manifest["dropped"]) == set(refined.dropped)
    for file, sample in zip(export.files, refined.kept, strict=True):
        edit = sample.edit
        origin = source_folder(run) / sample.file if edit is None else edit.folder / "edit.png"
        assert file.read_bytes() == origin.read_bytes()


def check_round(run: Run) -> None:
    refined = refined_set(run, "unflagged")
    plan = plan_round(run)
    changed = [
        s for s in refined.samples
        if s.dropped or s.label != s.current or (s.edit is not None and s.edit.new)
    ]  # fmt: skip
    if plan is None:
        assert not changed
        return
    made = next_round(run)
    assert made is not None and changed
    train = open_training(made)
    assert train.ids.tolist() == [s.id for s in refined.kept]
    assert [train.classes[k] for k in train.labels] == [s.label for s in refined.kept]
    for i, sample in enumerate(refined.kept):
        assert (train.images([i])[0] == picture_of(run, sample)).all()
    # the same again from the next round, where nobody has decided anything
    after = refined_set(made, "original")
    assert [s.assigned for s in after.samples] == [s.assigned for s in refined.kept]
    standing = {s.id: s.edit.folder.resolve() for s in refined.kept if s.edit is not None}
    assert {s.id: s.edit.folder.resolve() for s in after.samples if s.edit is not None} == standing
    assert {c.id for c in earlier_changes(made)} >= {s.id for s in changed}


def check_arms(run: Run, refined: RefinedSet, decisions: dict[str, Decision]) -> None:
    arm = build_arm(run, "reviewed")
    if not decisions:
        assert arm is None
        return
    assert arm is not None and len(arm) == len(refined.kept)
    assert [arm.train.ids[p] for p in arm.positions] == [s.id for s in refined.kept]
    assert [arm.train.classes[k] for k in arm.labels] == [s.label for s in refined.kept]
    for i, sample in enumerate(refined.kept):
        assert (arm.images([i])[0] == picture_of(run, sample)).all()


@pytest.mark.slow
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_all_renderings_agree_on_every_sample(
    data: st.DataObject, run_copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = Run.open(run_copy)
    chosen = data.draw(choices_for(run), label="decisions")
    journal = open_journal(run)
    while journal.undo("ann"):
        pass
    if chosen:
        journal.decide_many(chosen, "ann")
    journal.close()
    decisions = read_decisions(run)
    assert {s: d.action for s, d in decisions.items()} == {c.sample: c.action for c in chosen}
    for policy in UNDECIDED:
        refined = refined_set(run, policy)
        check_data_set(run, refined, policy)
        check_export(run, refined, policy, tmp_path_factory.mktemp("export") / policy)
    check_arms(run, refined_set(run, "original"), decisions)
    check_round(run)


def test_the_repaired_arm_takes_every_proposed_edit_whatever_was_decided(run_copy: Path) -> None:
    run = Run.open(run_copy)
    versions = read_json(REPAIR.folder(run) / "versions.json")
    journal = open_journal(run)
    for sample in versions:
        journal.decide(sample, "drop", "ann")
    journal.close()
    arm = build_arm(run, "repaired")
    assert arm is not None and len(arm) == len(arm.train)
    assert {str(arm.train.ids[i]) for i in np.flatnonzero(arm.edited >= 0)} == set(versions)


# ---------------------------------------------------------------- what is read of a run or an export


@pytest.fixture
def exported(run_copy: Path, tmp_path: Path) -> Path:
    """An export that takes every edit."""
    for _ in export_folder(Run.open(run_copy), tmp_path / "out", "repaired"):
        pass
    return tmp_path / "out"


def test_an_export_read_back_gives_the_pictures_of_the_run(exported: Path, run_copy: Path) -> None:
    of_run, of_export = RefinedDataset(run_copy, "repaired"), RefinedDataset(str(exported))
    assert of_run.ids == of_export.ids and of_run.classes == of_export.classes
    assert (of_run.targets == of_export.targets).all() and len(of_run) == len(of_export)
    for i in (0, len(of_run) // 2, -1):
        (a, label_a), (b, label_b) = of_run[i], of_export[i]
        assert a.shape == (3, 64, 64) and label_a == label_b
        assert float((a - b).abs().max()) < 1e-6
    sized = RefinedDataset(exported, transform=lambda image: image.size)
    assert isinstance(sized.transform, Callable) and sized[0] == ((64, 64), int(of_run.targets[0]))  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        of_run[len(of_run)]


def _overwrite(file: Path) -> None:
    with Image.open(file) as image:
        Image.fromarray(255 - np.asarray(image.convert("RGB"))).save(file)


@pytest.mark.parametrize(
    "harm,message",
    [
        (lambda root, first: _overwrite(root / first), r"images/\w+\.png was changed"),
        (lambda root, first: (root / first).unlink(), r"images/\w+\.png is missing"),
        (lambda root, first: (root / "images" / "x.png").write_bytes(b""), "x.png is not part of"),
        (lambda root, first: _relabel(root), "in labels.csv and"),
        (lambda root, first: _shrink(root), "should be there"),
    ],
    ids=["overwritten", "missing", "extra", "relabelled", "size"],
)
def test_what_was_changed_after_an_export_is_named(
    exported: Path, harm: Callable[[Path, str], None], message: str
) -> None:
    read_export(exported).verify()
    harm(exported, read_export(exported).table["file"][0])
    with pytest.raises(DiffInfError, match=message):
        read_export(exported).verify()


def _relabel(root: Path) -> None:
    export = read_export(root)
    table = export.table.copy()
    table.loc[0, "label"] = next(c for c in export.classes if c != table["label"][0])
    table.to_csv(root / "labels.csv", index=False)


def _shrink(root: Path) -> None:
    manifest = read_json(root / "manifest.json")
    manifest["n_original"] += 1
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "name,text,message",
    [
        ("manifest.json", "{", "cannot be read"),
        ("manifest.json", "{}", "damaged export"),
        ("labels.csv", "file,label\n", "no column 'assigned_label'"),
        ("labels.csv", "file,label,assigned_label,source,id\n", "rows are missing"),
    ],
)
def test_a_damaged_export_is_one_sentence(
    exported: Path, name: str, text: str, message: str
) -> None:
    (exported / name).write_text(text)
    with pytest.raises(DiffInfError, match=message):
        RefinedDataset(exported)


def test_a_picture_outside_the_export_is_refused(exported: Path) -> None:
    export = read_export(exported)
    table = export.table.copy()
    table.loc[0, "file"] = "../../etc/passwd"
    table.to_csv(exported / "labels.csv", index=False)
    with pytest.raises(DiffInfError, match="names a picture outside"):
        read_export(exported)


def test_a_folder_that_is_neither_a_run_nor_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match="neither a run nor an export"):
        RefinedDataset(tmp_path)
    with pytest.raises(DiffInfError, match="is not an export"):
        read_export(tmp_path)


def test_edits_are_decoded_once_however_often_they_are_read(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(run_copy)
    first = build_arm(run, "repaired")
    assert first is not None
    edited = np.flatnonzero(first.edited >= 0)
    expected = first.images(edited)
    for sample in read_json(REPAIR.folder(run) / "versions.json").items():
        (edit_folder(run, *sample) / "edit.png").unlink()
    again = build_arm(run, "repaired")
    assert again is not None and (again.images(edited) == expected).all()
