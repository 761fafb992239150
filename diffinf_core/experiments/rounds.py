"""The next round: the refined training set as the data of another run.

It holds the refined set that takes unflagged edits on which nobody has decided. Validation and test stay as
they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diffinf_core.config import to_yaml
from diffinf_core.correction.edits import edit_folder
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA, truth_file
from diffinf_core.data.lineage import FILE, FOLDER, number, origin
from diffinf_core.data.overlay import write_overlay
from diffinf_core.data.part import run_pictures
from diffinf_core.data.state import generation, set_generation
from diffinf_core.data.truth import open_truth
from diffinf_core.influence.stage import ranking
from diffinf_core.records import DiffInfError
from diffinf_core.review.refine import refined_set
from diffinf_core.runs.cells import readable
from diffinf_core.runs.files import (
    digest,
    publish_folder,
    read_json,
    write_json,
    write_table,
    write_text,
)
from diffinf_core.runs.run import CONFIG_FILE, Run

#: the share of a round's high-influence set that was in the one before, from which it counts as stable
STABLE = 0.5


@dataclass(frozen=True)
class RoundPlan:
    """What the next round changes, and where it lies."""

    target: Run
    round: int
    edits: dict[str, str]
    labels: dict[str, str]
    dropped: tuple[str, ...]
    earlier: dict[str, list[str]]

    @property
    def made(self) -> bool:
        """Whether the round's folder is there."""
        return (self.target.root / FILE).exists()


def plan_round(run: Run) -> RoundPlan | None:
    """What the next round would be by the present edits and decisions; None where nothing would change.

    Raises :class:`DiffInfError` where the run is not repaired yet, and where no sample would be left.
    """
    if not REPAIR.folder(run).done:
        raise DiffInfError(f"{run.root} has no repairs yet; run it first.")
    refined = refined_set(run, "unflagged")
    edits = {s.id: s.edit.version for s in refined.kept if s.edit is not None and s.edit.new}
    labels = {s.id: s.label for s in refined.kept if s.label != s.current}
    dropped = tuple(sorted(refined.dropped))
    if not (edits or labels or dropped):
        return None
    if not refined.kept:
        raise DiffInfError(
            f"Every training sample of {run.root} is dropped; the next round would have none. Take back some "
            "decisions."
        )
    first = origin(run)
    home = "" if first == run.root else run.root.name
    known = read_json(run.root / FILE)["earlier"] if home else {}
    earlier = {**known, **{s: [home, v] for s, v in edits.items()}}
    after = number(run) + 1
    name = f"{after}-{digest(home, earlier, labels, dropped, DATA.key(run))[:8]}"
    return RoundPlan(Run(first / FOLDER / name, run.config), after, edits, labels, dropped, earlier)


def next_round(run: Run) -> Run | None:
    """The run of the next round, made if it is not there; None where nothing would change."""
    plan = plan_round(run)
    if plan is None:
        return None
    if not plan.made:
        pictures = {s: edit_folder(run, s, v) / "edit.png" for s, v in plan.edits.items()}

        def build(folder: Path) -> None:
            write_text(folder / CONFIG_FILE, to_yaml(run.config))
            parent = run.root.name if (run.root / FILE).exists() else ""
            found = {"round": plan.round, "parent": parent, "earlier": plan.earlier}
            write_json(folder / FILE, found)
            made = Run(folder, run.config)
            set_generation(made, generation(run))
            _write_data(run, made, plan, pictures)

        publish_folder(plan.target.root, build)
    return plan.target


def _write_data(run: Run, made: Run, plan: RoundPlan, pictures: dict[str, Path]) -> None:
    """The data stage of the next round: the tables, and the pictures that rounds replaced so far."""
    old, new = DATA.folder(run), DATA.folder(made)
    table = readable(pd.read_csv(old / "samples.csv", dtype=str, keep_default_na=False))
    table["label"] = table["id"].map(plan.labels).fillna(table["label"])
    table.loc[table["id"].isin(plan.dropped), "split"] = "dropped"
    write_table(new / "samples.csv", table)
    write_json(new / "classes.json", read_json(old / "classes.json"))
    truth = _next_truth(run, made, table, plan)
    rows = {sample: row for row, sample in enumerate(table["id"])}
    edits = {rows[sample]: file for sample, file in pictures.items()}
    write_overlay(new.path, run_pictures(run), edits, [rows[sample] for sample in plan.earlier])
    figures = dict(old.figures)
    inside = set(table.loc[table["split"] == "train", "id"])
    figures["n_train"] = len(inside)
    if truth is not None:
        left = truth.loc[truth["id"].isin(inside), "flipped"] == "1"
        figures["noise_rate"] = float(left.mean())
    new.finish(figures, DATA.code)


def _next_truth(run: Run, made: Run, table: pd.DataFrame, plan: RoundPlan) -> pd.DataFrame | None:
    """Write what is known of the next round's labels, and return it; None where nothing is known.

    What was repaired counts as right from here on, and what was relabelled by its new label.
    """
    truth = open_truth(run, "rounds").table()
    if truth is None:
        return None
    assigned = table.set_index("id")["label"].reindex(truth["id"]).to_numpy()
    truth["clean"] = np.where(truth["id"].isin(plan.edits), assigned, truth["clean"])
    touched = truth["id"].isin({*plan.edits, *plan.labels})
    wrong = (truth["clean"] != assigned).astype(int).astype(str)
    truth["flipped"] = np.where(touched, wrong, truth["flipped"])
    write_table(truth_file(made), truth)
    return truth


def overlap(before: Run, after: Run) -> float:
    """The share of the later high-influence set that was in the earlier one, too."""
    sets = []
    for run in (before, after):
        table = ranking(run)
        sets.append(set(table.loc[table["high"], "id"]))
    return len(sets[0] & sets[1]) / max(1, len(sets[1]))
