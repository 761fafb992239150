"""What an export will hold, before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from diffinf_core.correction.edits import edit_folder
from diffinf_core.correction.stage import has_repairs, repair_stage
from diffinf_core.data.earlier import Earlier, earlier_changes
from diffinf_core.data.ingest import source_folder
from diffinf_core.data.lineage import earlier_edits
from diffinf_core.data.part import open_training
from diffinf_core.records import Decision, DiffInfError
from diffinf_core.review.opening import read_decisions
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run

UNDECIDED = ("original", "repaired")


@dataclass(frozen=True)
class Item:
    """One picture of the export.

    ``file`` is copied to ``name``; ``original`` is its file in the source folder, ``assigned`` the label
    that the data set came with, ``source`` original, repaired or relabelled. ``edit`` is the folder of
    the version that stands for it.
    """

    id: str
    file: Path
    name: str
    original: str
    label: str
    assigned: str
    source: str
    edit: Path | None
    decision: Decision | None


@dataclass(frozen=True)
class Plan:
    """The pictures of an export, and what is not among them.

    ``dropped`` are the samples that reviewers of this round left out, ``undecided`` the edited ones that
    nobody decided on, ``earlier`` what rounds before this one did.
    """

    items: tuple[Item, ...]
    dropped: tuple[str, ...]
    undecided: tuple[str, ...]
    earlier: tuple[Earlier, ...]
    classes: tuple[str, ...]
    n_original: int

    def counts(self) -> dict[str, int]:
        """Pictures by what happens to them: original, repaired, relabelled, dropped, undecided."""
        sources = Counter(item.source for item in self.items)
        out = {name: sources[name] for name in ("original", "repaired", "relabelled")}
        return out | {"dropped": len(self.dropped), "undecided": len(self.undecided)}


def plan_export(run: Run, undecided: str = "original") -> Plan:
    """What an export after review would hold.

    ``undecided`` says what happens to edited samples that nobody decided on: "original" keeps
    them as they were, "repaired" takes the edit.
    """
    if undecided not in UNDECIDED:
        raise DiffInfError(f"undecided must be one of {', '.join(UNDECIDED)}, not {undecided!r}.")
    train = open_training(run)
    root, before = source_folder(run), earlier_edits(run)
    changes = earlier_changes(run)
    # the label that the data set came with, where an earlier round changed it
    given: dict[str, str] = {}
    for change in changes:
        if change.before is not None:
            given.setdefault(change.id, change.before)
    decisions = read_decisions(run)
    proposed = read_json(repair_stage(run) / "versions.json") if has_repairs(run) else {}
    items: list[Item] = []
    dropped: list[str] = []
    open_: list[str] = []
    files = train.table["file"].tolist()
    for i, sample in enumerate(map(str, train.ids)):
        decision = decisions.get(sample)
        current = train.classes[train.labels[i]]
        label, version = current, None
        source = "relabelled" if sample in given else "original"
        if decision is None or decision.action == "second_look":
            if sample in proposed:
                open_.append(sample)
                if undecided == "repaired":
                    version = proposed[sample]
        elif decision.action == "drop":
            dropped.append(sample)
            continue
        elif decision.action == "accept":
            version = decision.version
        elif decision.action == "relabel" and decision.new_label:
            label, source = decision.new_label, "relabelled"
        edit = edit_folder(run, sample, version) if version else before.get(sample)
        if edit is not None:
            source = "repaired"  # it says that the picture is synthetic; the labels say the rest
        file = root / files[i] if edit is None else edit / "edit.png"
        items.append(
            Item(
                id=sample,
                file=file,
                name=f"images/{sample}{file.suffix.lower()}",
                original=files[i],
                label=label,
                assigned=given.get(sample, current),
                source=source,
                edit=edit,
                decision=decision,
            )
        )
    return Plan(
        tuple(items), tuple(dropped), tuple(open_), tuple(changes), train.classes, len(train)
    )
