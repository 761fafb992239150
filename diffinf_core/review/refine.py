"""What decisions do to the data: the one place where they become the refined set D' (equation 13).

Exports, retrained arms, rounds and data sets for PyTorch are renderings of what :func:`refine` returns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from diffinf_core.correction.edits import edit_folder, load_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.correction.usual import flagged as with_usual
from diffinf_core.correction.usual import usual_of
from diffinf_core.data.earlier import earlier_changes
from diffinf_core.data.lineage import earlier_edits
from diffinf_core.data.part import open_training
from diffinf_core.records import (
    ACTIONS,
    UNDECIDED,
    Decision,
    DiffInfError,
    Earlier,
    RefinedSample,
    RefinedSet,
    Sample,
    StandingEdit,
    Undecided,
)
from diffinf_core.review.opening import read_decisions
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import under_seal


def policy(undecided: str) -> Undecided:
    """A policy for the undecided by its name; :class:`DiffInfError` for an unknown one."""
    for known in UNDECIDED:
        if undecided == known:
            return known
    raise DiffInfError(f"undecided must be one of {', '.join(UNDECIDED)}, not {undecided!r}.")


def refine(
    training: Iterable[Sample],
    classes: Sequence[str],
    proposed: Mapping[str, str],
    decisions: Mapping[str, Decision],
    folder_of: Callable[[str, str], Path],
    undecided: Undecided = "original",
    flagged: Collection[str] = (),
    before: Mapping[str, Path] | None = None,
    earlier: Sequence[Earlier] = (),
) -> RefinedSet:
    """The refined set of some training samples; pure, it reads and writes nothing.

    ``proposed`` maps each edited sample to the version that the repair proposes, ``flagged`` are those whose
    proposed version carries a flag; ``folder_of(sample, version)`` says where a version lies. ``before``
    maps a sample that an earlier round edited to the folder of that edit, ``earlier`` is what earlier
    rounds did.

    * accept: the accepted version stands for the picture, whichever version is proposed now and also where
      none is (the sample fell out of the top tau); it replaces an earlier round's edit. The label stays.
    * reject, keep: the picture as this round began with it, which may be an earlier round's edit.
    * relabel: the same picture as for keep, under the new label.
    * drop: left out, whatever earlier rounds did to it.
    * second_look and no decision: by ``undecided`` where an edit is proposed ("original": as for keep;
      "repaired": the proposed version; "unflagged": the proposed version unless it is flagged), else as
      for keep.

    Decisions on samples that are not in ``training`` have no effect.
    Raises :class:`DiffInfError` for an unknown policy or action.
    """
    undecided, before = policy(undecided), before or {}
    lineage: dict[str, list[Earlier]] = defaultdict(list)
    for change in earlier:
        lineage[change.id].append(change)
    out, open_ = [], []
    for sample in training:
        decision, history = decisions.get(sample.id), lineage.get(sample.id, [])
        action = "second_look" if decision is None else decision.action
        version, label = None, sample.label
        if action == "second_look":
            if sample.id in proposed:
                open_.append(sample.id)
                clean = undecided == "unflagged" and sample.id not in flagged
                version = proposed[sample.id] if undecided == "repaired" or clean else None
        elif action == "accept" and decision is not None:
            version = decision.version
        elif action == "relabel" and decision is not None:
            label = decision.new_label or label
        elif action not in ACTIONS:
            raise DiffInfError(f"Sample {sample.id!r} has a decision {action!r} that is unknown.")
        edit = None
        if version:
            edit = StandingEdit(version, folder_of(sample.id, version))
        elif sample.id in before:
            edit = StandingEdit(before[sample.id].name, before[sample.id], new=False)
        given = next((change.before for change in history if change.before is not None), None)
        out.append(
            RefinedSample(
                id=sample.id,
                file=sample.file,
                assigned=sample.label if given is None else given,
                current=sample.label,
                label=label,
                edit=edit,
                dropped=action == "drop",
                decision=decision,
                lineage=tuple(history),
            )
        )
    return RefinedSet(tuple(out), tuple(classes), undecided, tuple(open_), tuple(earlier))


@under_seal
def refined_set(
    run: Run,
    undecided: str = "original",
    decisions: Mapping[str, Decision] | None = None,
) -> RefinedSet:
    """The refined set of a run by its edits and its journal, or by other ``decisions``."""
    chosen, train = policy(undecided), open_training(run)
    proposed: dict[str, str] = (
        read_json(REPAIR.folder(run) / "versions.json") if REPAIR.done(run) else {}
    )
    if decisions is None:
        decisions = read_decisions(run)
    flagged: set[str] = set()
    if chosen == "unflagged":
        usual = usual_of(run)
        flagged = {s for s, v in proposed.items() if with_usual(load_edit(run, s, v), usual).flags}
    return refine(
        train.samples(),
        train.classes,
        proposed,
        decisions,
        lambda sample, version: edit_folder(run, sample, version),
        chosen,
        flagged,
        earlier_edits(run),
        earlier_changes(run),
    )
