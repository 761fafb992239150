"""What decisions do to the data, and that all that is made of it says the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from diffinf_core.correction.edits import edit_folder
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA
from diffinf_core.data.overlay import PICTURES, REPLACED, ROWS
from diffinf_core.data.part import open_training, run_pictures, to_image
from diffinf_core.experiments.arms import build_arm
from diffinf_core.experiments.rounds import next_round
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
    Sample,
    StandingEdit,
)
from diffinf_core.review.opening import open_journal, read_decisions
from diffinf_core.review.refine import refine
from diffinf_core.review.training_set import TrainingSet
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from tests.refined import CLASSES as MADE_UP
from tests.refined import made_up_run, plain, propose, sample_id, version_id, write_edit

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


@dataclass(frozen=True)
class Fate:
    """What one round proposes for a sample and decides on it; ``other``: a second, unproposed version."""

    proposed: bool
    flagged: bool
    other: bool
    action: str | None
    new_label: str
    accept_other: bool

    def version(self, r: int, s: int) -> str | None:
        """The version that is accepted, if one can be."""
        if self.other and (self.accept_other or not self.proposed):
            return version_id(16 * (16 * r + s) + 1)
        return version_id(16 * (16 * r + s)) if self.proposed else None

    def choice(self, r: int, s: int) -> Choice | None:
        """The decision, as it goes into a journal."""
        sample = sample_id(s + OTHERS)
        if self.action is None or (self.action == "accept" and self.version(r, s) is None):
            return None
        version = self.version(r, s) if self.action == "accept" else None
        return Choice(
            sample, self.action, version, self.new_label if self.action == "relabel" else None
        )


#: number of a picture: 0 for the original, else that of the version
Standing = tuple[int, str, bool]
OTHERS = 2

fates = st.builds(
    Fate,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, *ACTIONS]),
    st.sampled_from(MADE_UP),
    st.booleans(),
)


def picture(s: int, number: int) -> np.ndarray:
    """The picture of training sample ``s``: the original, or a version of some round."""
    return plain(0, s + OTHERS) if number == 0 else plain(1, number)


def expected(fate: Fate, r: int, s: int, now: Standing, policy: str) -> Standing:
    """The rules once more, by hand: the picture, the label, and whether the sample is dropped."""
    number, label, _ = now
    mine = 16 * (16 * r + s)
    choice = fate.choice(r, s)
    if choice is None or choice.action == "second_look":
        takes = {"original": False, "repaired": True, "unflagged": not fate.flagged}[policy]
        return (mine if fate.proposed and takes else number), label, False
    if choice.action == "accept":
        return int(str(choice.version), 16), label, False
    if choice.action == "relabel":
        return number, str(choice.new_label), False
    return number, label, choice.action == "drop"


def enact(run: Run, round_: list[Fate], r: int, now: dict[int, Standing]) -> None:
    """Write the edits and the decisions of a round that began with ``now``."""
    proposed: dict[str, str] = {}
    for s, (stands, _, _) in now.items():
        fate, sample, first = round_[s], sample_id(s + OTHERS), 16 * (16 * r + s)
        for number in [first] * fate.proposed + [first + 1] * fate.other:
            flagged = fate.flagged and number == first
            before = picture(s, stands)
            write_edit(run, sample, version_id(number), picture(s, number), flagged, before)
        if fate.proposed:
            proposed[sample] = version_id(first)
    propose(run, proposed)
    choices = [c for s in now if (c := round_[s].choice(r, s)) is not None]
    if choices:
        journal = open_journal(run)
        journal.decide_many(choices, "ann")
        journal.close()


def same(
    ids: list[str],
    labels: list[str],
    pictures: Iterable[np.ndarray],
    want: dict[int, Standing],
) -> None:
    """Compare a rendering with what is expected of each sample, dropped ones included."""
    kept = {s: standing for s, standing in want.items() if not standing[2]}
    assert ids == [sample_id(s + OTHERS) for s in kept]
    assert labels == [label for _, label, _ in kept.values()]
    for found, (s, (number, _, _)) in zip(pictures, kept.items(), strict=True):
        assert (found == picture(s, number)).all()


def pixels(data: RefinedDataset) -> list[np.ndarray]:
    """The pictures of a data set as uint8 (S, S, 3)."""
    return [to_image(data[i][0][None])[0] for i in range(len(data))]


def of_arm(arm: TrainingSet, want: dict[int, Standing]) -> None:
    same(
        arm.train.ids[arm.positions].tolist(),
        [arm.train.classes[k] for k in arm.labels],
        arm.images(np.arange(len(arm))),
        want,
    )


def of_data_set(data: RefinedDataset, want: dict[int, Standing], given: list[str]) -> None:
    labels = [data.classes[label] for _, label in (data[i] for i in range(len(data)))]
    same(data.ids, labels, pixels(data), want)
    assert data.table["label"].tolist() == labels
    kept = {s: standing for s, standing in want.items() if not standing[2]}
    assert data.table["assigned_label"].tolist() == [given[s] for s in kept]
    assert data.sources == [
        "repaired" if number else "original" if label == given[s] else "relabelled"
        for s, (number, label, _) in kept.items()
    ]


@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
@given(
    given=st.lists(st.sampled_from(MADE_UP), min_size=1, max_size=4),
    data=st.data(),
    rounds=st.integers(1, 3),
)
def test_all_renderings_agree_on_every_sample(
    given: list[str], data: st.DataObject, rounds: int
) -> None:
    n = len(given)
    history = [
        data.draw(st.lists(fates, min_size=n, max_size=n), label=f"round {r}")
        for r in range(1, rounds + 1)
    ]
    with TemporaryDirectory() as folder:
        _check_renderings(Path(folder), given, history)


def _check_renderings(folder: Path, given: list[str], history: list[list[Fate]]) -> None:
    run = made_up_run(folder / "run", given, OTHERS)
    now: dict[int, Standing] = {s: (0, label, False) for s, label in enumerate(given)}
    for r, round_ in enumerate(history, 1):
        enact(run, round_, r, now)
        want = {
            policy: {s: expected(round_[s], r, s, now[s], policy) for s in now}
            for policy in UNDECIDED
        }
        for policy in UNDECIDED:
            of_data_set(RefinedDataset(run.root, policy), want[policy], given)
            target = folder / f"{r}-{policy}"
            for _ in export_folder(run, target, policy):
                pass
            export = read_export(target)
            export.verify()
            gone = [sample_id(s + OTHERS) for s, (_, _, out) in want[policy].items() if out]
            assert export.manifest["dropped"] == gone
            of_data_set(RefinedDataset(target), want[policy], given)
        reviewed, repaired = build_arm(run, "reviewed"), build_arm(run, "repaired")
        assert (reviewed is None) == (not read_decisions(run)) and repaired is not None
        if reviewed is not None:
            of_arm(reviewed, want["original"])
        alone = [replace(fate, action=None) for fate in round_]
        of_arm(repaired, {s: expected(alone[s], r, s, now[s], "repaired") for s in now})
        if all(gone for _, _, gone in want["unflagged"].values()):
            with pytest.raises(DiffInfError, match="the next round would have none"):
                next_round(run)
            return
        made = next_round(run)
        assert (made is None) == (want["unflagged"] == now)
        if made is None:
            return
        train = open_training(made)
        same(
            train.ids.tolist(),
            [train.classes[k] for k in train.labels],
            train.images(np.arange(len(train))),
            want["unflagged"],
        )
        run, now = made, {s: v for s, v in want["unflagged"].items() if not v[2]}


def test_a_round_above_one_that_holds_a_full_copy_keeps_its_edits(tmp_path: Path) -> None:
    """Rounds of earlier versions kept all pictures; only round.json says which of them are edits."""
    run = made_up_run(tmp_path / "run", ["happy", "sad", "sad"], OTHERS)
    samples = [sample_id(s + OTHERS) for s in range(3)]
    write_edit(run, samples[0], version_id(1), plain(1, 1))
    propose(run, {samples[0]: version_id(1)})
    second = next_round(run)
    assert second is not None
    pictures, folder = run_pictures(second), DATA.folder(second).path
    np.save(folder / PICTURES, pictures.read(range(len(pictures))))
    (folder / REPLACED).unlink()
    (folder / ROWS).unlink()
    assert (open_training(second).images([0])[0] == plain(1, 1)).all()
    write_edit(second, samples[1], version_id(2), plain(1, 2))
    propose(second, {samples[1]: version_id(2)})
    third = next_round(second)
    assert third is not None and not (DATA.folder(third) / PICTURES).exists()
    found = open_training(third).images([0, 1, 2])
    assert (found == np.stack([plain(1, 1), plain(1, 2), plain(0, 4)])).all()


@pytest.mark.parametrize("name", [REPLACED, ROWS])
@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-8])]
)
def test_a_damaged_round_is_one_sentence_with_a_remedy_that_works(
    tmp_path: Path, name: str, harm: Callable[[Path], object]
) -> None:
    run = made_up_run(tmp_path / "run", ["happy", "sad"], OTHERS)
    write_edit(run, sample_id(2), version_id(1), plain(1, 1))
    propose(run, {sample_id(2): version_id(1)})
    made = next_round(run)
    assert made is not None
    harm(DATA.folder(made) / name)
    there = (DATA.folder(made) / ROWS).exists()
    remedy = (
        "pictures that the round .* replaced .* remove that round"
        if there
        else "images.npy is missing"
    )
    with pytest.raises(DiffInfError, match=remedy):
        open_training(made)
    shutil.rmtree(made.root)
    again = next_round(run)
    assert again is not None and (open_training(again).images([0])[0] == plain(1, 1)).all()


def test_an_action_that_is_unknown_is_refused() -> None:
    with pytest.raises(DiffInfError, match="'a' has a decision 'postpone' that is unknown"):
        one(decided("postpone"))


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
