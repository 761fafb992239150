"""What each part of the repair is worth: the same pictures edited under other settings, over seeds.

A variant is a set of changed settings. One that changes the repair alone edits the same pictures of the
same run again; one that changes the noise, tau or the classifier computes those stages anew beside the
run's own. Every cell (variant, seed) is a file of its own, so a killed ablation goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from diffinf_core.config import RunConfig, change
from diffinf_core.correction.editing import Preview
from diffinf_core.correction.edits import load_edit, versions_of
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.parallel import Batch, edited, editors
from diffinf_core.correction.repairer import (
    Repairer,
    outside_files,
    perceptors_key,
    scores_key,
)
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.lineage import origin
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.experiments.retrain import RETRAIN, arm, read_arms
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.stage import ranking
from diffinf_core.records import DiffInfError, Edit, Progress
from diffinf_core.runs.files import write_json, write_table
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import sealed
from diffinf_core.runs.stages import Stage, Work

Variants = dict[str, dict[str, Any]]
#: the guide alone, with the freedom of every pixel: no label for the generator, no identity, no
#: regulariser, both codes optimised at a noise level where x_T is nearly the picture itself. The
#: control that the flag "adversarial" must catch.
H_ONLY: dict[str, Any] = {
    "use_label": False,
    "w_id": 0,
    "w_reg": 0,
    "w_si": 1,
    "transfer": "none",
    "method": "z_sem_x_T",
    "t0": 50,
    "steps": 1,
    "iterations": 24,
    "learning_rate": 0.03,
}
_NOTHING = {"w_id": 0, "w_reg": 0, "w_si": 0}
#: what is tried when nothing is asked for: each part of the default taken away, and each other method
PLAN: Variants = {
    "as configured": {},
    "no label": {"repair": {"use_label": False}},
    "the label and nothing else": {"repair": _NOTHING},
    "no identity term": {"repair": {"w_id": 0}},
    "no regulariser": {"repair": {"w_reg": 0}},
    "no influence term": {"repair": {"w_si": 0}},
    "guidance 1": {"repair": {"guidance": 1.0}},
    "guidance 3": {"repair": {"guidance": 3.0}},
    "away from the class seen": {"repair": {"guide_from": "seen"}},
    "t0 400": {"repair": {"t0": 400}},
    "t0 800": {"repair": {"t0": 800}},
    "nothing transferred": {"repair": {"transfer": "none"}},
    "delta transfer": {"repair": {"transfer": "delta"}},
    "z_sem optimised": {"repair": {"method": "z_sem"}},
    "z_sem and x_T optimised": {"repair": {"method": "z_sem_x_T"}},
    "z_sem optimised, no label": {"repair": {"method": "z_sem", "use_label": False}},
    "probe beside the label": {"repair": {"probe": "always"}},
    "h alone": {"repair": H_ONLY},
}
#: figures of a cell that are averaged over seeds, with their names in the table
COLUMNS = {
    "judge_agrees": "judge agrees",
    "judge_worst_class": "worst class",
    "identity_mean": "identity",
    "identity_p10": "10th percentile",
    "ssim": "SSIM",
    "h_after": "h",
    "influence_ratio": "self-influence, fraction left",
    "flagged_adversarial": "flagged adversarial",
    "accuracy_noisy": "accuracy noisy",
    "accuracy_removal": "accuracy removal",
    "accuracy_repaired": "accuracy repaired",
}
_ARMS = ("noisy", "removal", "repaired")


def varied(vary: Mapping[str, Sequence[Any]]) -> Variants:
    """Every combination of values of dotted keys, e.g. {"repair.guidance": [1, 2], "noise.rate": [0.2]}.

    Raises :class:`DiffInfError` for what has no effect here: a cell edits each picture once.
    """
    for key in ("repair.tries", "repair.reached"):
        if key in vary:
            raise DiffInfError(f"An ablation edits each picture once, so {key} cannot be varied.")
    out: Variants = {}
    for values in product(*vary.values()):
        over: dict[str, Any] = {}
        for key, value in zip(vary, values, strict=True):
            section, _, name = key.partition(".")
            over.setdefault(section, {})[name] = value
        out[", ".join(f"{k}={v}" for k, v in zip(vary, values, strict=True))] = over
    return out


def seeded(config: RunConfig, by: int) -> RunConfig:
    """The configuration with the seeds of noise, classifier, ranking and predictor moved on."""
    if by == 0:
        return config
    over: dict[str, Any] = {
        section: {"seed": getattr(config, section).seed + by}
        for section in ("noise", "classifier", "influence", "predictor")
    }
    return change(config, over, "seeds")


def chosen(run: Run, images: int) -> np.ndarray:
    """The first ``images`` of the high-influence set: mislabelled ones where the truth is known."""
    table = ranking(run)
    order = table[table["high"]].sort_values("rank").index.to_numpy()
    truth = open_truth(run, "ablation").training()
    if truth is not None and truth[1].any():
        order = order[truth[1][order]]
    return order[:images].astype(np.int64)


def _edited(run: Run, positions: np.ndarray) -> Iterator[Progress | list[Edit]]:
    """Edit positions, the versions there are kept; events, then all of the edits."""
    repairer, config = Repairer(run), run.config.repair
    versions = {
        int(p): (str(repairer.train.ids[p]), repairer.version(int(p), config)) for p in positions
    }
    parts = [
        positions[start : start + config.batch_size]
        for start in range(0, len(positions), config.batch_size)
    ]
    missing = [
        Batch(part, config)
        for part in parts
        if not all(v in versions_of(run, s) for s, v in (versions[int(p)] for p in part))
    ]
    done, total = len(positions) - sum(len(batch.positions) for batch in missing), len(positions)
    for what, now, of in sealed(repairer.prepare(config)) if missing else ():
        yield Progress("ablation", done, total, f"{what}: {now} of {of}")
    load = ""
    with editors(repairer) as workers:
        for event in edited(workers, repairer, missing):
            if isinstance(event, list):
                done += len(event)
            elif not isinstance(event, Preview):
                load = str(event)
            note = "; ".join(filter(None, (f"{done} of {total}", load)))
            yield Progress("ablation", done, total, note)
    yield [load_edit(run, sample, version) for sample, version in versions.values()]


def figures_of(edits: list[Edit], classes: Sequence[str]) -> dict[str, Any]:
    """What a cell reports of its edits."""
    frame = pd.DataFrame(
        {
            "label": [e.label for e in edits],
            "agrees": [classes[int(np.argmax(e.judge_after))] == e.label for e in edits],
        }
    )
    identity = [e.identity for e in edits if e.identity is not None]
    before = sum(e.influence_before for e in edits)
    return {
        "n": len(edits),
        "judge_agrees": float(frame["agrees"].mean()),
        "judge_worst_class": float(frame.groupby("label")["agrees"].mean().min()),
        "identity_mean": float(np.mean(identity)) if identity else None,
        "identity_p10": float(np.percentile(identity, 10)) if identity else None,
        "ssim": float(np.mean([e.ssim for e in edits])),
        "h_after": float(np.mean([e.h_after for e in edits])),
        "influence_ratio": sum(e.influence_after for e in edits) / before if before else None,
        "flagged_adversarial": float(np.mean(["adversarial" in e.flags for e in edits])),
    }


def _measure(run: Run, images: int, retrain: bool) -> Work:
    positions = chosen(run, images)
    if not len(positions):
        raise DiffInfError(
            "The ablation has no high-influence sample to edit; give a higher influence.tau."
        )
    figures: dict[str, Any] = {}
    for made in _edited(run, positions):
        if isinstance(made, Progress):
            yield made
        else:
            figures = figures_of(made, open_training(run).classes)
    if retrain:
        for stage in (REPAIR, RETRAIN):
            yield from stage.compute(run, quiet=True)
        figures |= {f"accuracy_{arm}": row["accuracy"] for arm, row in read_arms(run).items()}
    return figures


@lru_cache(maxsize=256)
def cell(images: int, retrain: bool) -> Stage:
    """The stage of one variant under one seed, for a run that is configured so."""
    return Stage(
        "ablation",
        partial(_measure, images=images, retrain=retrain),
        "edit the same pictures under other settings",
        inputs=(PREDICTOR, JUDGE),
        settings=lambda run: [
            run.config.provenance(),
            scores_key(run),
            perceptors_key(run, run.config.repair),
            images,
            retrain,
        ],
        files=outside_files,
        # what it edits and trains counts by the versions of those stages
        steps=(REPAIR, arm("noisy", 0)) if retrain else (REPAIR,),
        sealed=False,
    )


def run_ablation(
    run: Run,
    compute: Callable[[Run], Iterator[Progress]],
    variants: Variants | None = None,
    seeds: int = 1,
    images: int = 48,
    retrain: bool = False,
) -> Iterator[Progress]:
    """Fill every cell that is missing, and write ``ablation/ablation.{csv,json}`` after each.

    ``compute`` brings a run up to its judge. Raises :class:`DiffInfError` for a variant that is no valid
    configuration, before anything is computed.
    """
    variants = PLAN if variants is None else variants
    cells = []
    for (name, over), seed in product(variants.items(), range(seeds)):
        if {"data", "split"} & set(over):
            raise DiffInfError(
                f"Variant {name!r} changes the data set; make another run of it and compare reports."
            )
        if origin(run) != run.root and (seed or "noise" in over):
            raise DiffInfError(
                f"{run.root} is a later round, whose labels are not made anew: ablate it with one "
                "seed and no noise.rate, or ablate the first round."
            )
        config = change(seeded(run.config, seed), over, f"variant {name!r}")
        # What a cell measures and what it trains on is one edit of each picture.
        config = change(config, {"repair": {"tries": "one"}}, f"variant {name!r}")
        if retrain:
            config = change(config, {"retrain": {"arms": _ARMS}}, "retrain")
        # towards other labels, and by settings that nobody would review: not among the versions
        cells.append((name, seed, Run(run.root, config, run.root / "ablation" / "edits")))
    folder = run.root / "ablation"
    measured = cell(images, retrain)
    rows: list[dict[str, Any]] = []
    for i, (name, seed, varied_run) in enumerate(cells):
        note = name if seeds == 1 else f"{name}, seed {seed}"
        yield Progress("ablation", i, len(cells), note)
        for event in compute(varied_run):
            yield Progress("ablation", i, len(cells), f"{note}: {event.stage}")
        for event in measured.compute(varied_run, quiet=True):
            what = event.note if event.stage == "ablation" else event.stage
            yield Progress("ablation", i, len(cells), f"{note}: {what}")
        rows.append({"variant": name, "seed": seed, **measured.folder(varied_run).figures})
        _publish(run, rows)
    yield Progress("ablation", len(cells), len(cells), str(folder / "ablation.csv"))


def _publish(run: Run, rows: list[dict[str, Any]]) -> None:
    folder = run.root / "ablation"
    table = summary(rows)
    write_json(folder / "ablation.json", rows)
    write_table(folder / "ablation.csv", table)


def summary(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per variant: mean and standard deviation (``_sd``) over seeds, in the order of the plan."""
    frame = pd.DataFrame(rows)
    out = []
    for name, part in frame.groupby("variant", sort=False):
        row: dict[str, Any] = {"variant": name, "seeds": len(part), "n": int(part["n"].sum())}
        for column in COLUMNS:
            if column in part and part[column].notna().any():
                row[column] = float(part[column].mean())
                row[column + "_sd"] = float(part[column].std(ddof=1)) if len(part) > 1 else None
        out.append(row)
    return pd.DataFrame(out)
