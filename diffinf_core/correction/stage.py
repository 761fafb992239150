"""The repair stage: a map over sample ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffinf_core.config import RepairConfig
from diffinf_core.correction.editing import Preview
from diffinf_core.correction.edits import METHOD, edit_folder, load_edit, read_edit
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.parallel import Batch, edited, editors
from diffinf_core.correction.repairer import (
    Repairer,
    outside_files,
    perceptors_key,
    scores_key,
)
from diffinf_core.correction.search import propose, strengths
from diffinf_core.data.lineage import earlier_edits
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.stage import ranking
from diffinf_core.records import Edit, Progress
from diffinf_core.runs.executor import Workers
from diffinf_core.runs.files import digest, read_json, write_json
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.stages import Stage, Work

#: the file of :func:`usual`
USUAL = "usual.json"
#: edits that are needed to say what is usual, and robust standard deviations that a usual one may lie above
_FEWEST, _DEVIATIONS = 20, 3.0
#: while the stage is computed: the batches of a configuration, as lists of positions
_BATCHES = "batches-{}.json"
#: edits positions under a configuration; name and note are for the events
EditAll = Callable[[NDArray[np.int64], RepairConfig, str, str], Iterator[Progress]]
#: a normal distribution's standard deviation over its median absolute deviation
_NORMAL = 1.4826


class Usual(NamedTuple):
    """Perceptual distances of a run's edits: the median, and what few lie above."""

    median: float
    limit: float


def usual(edits: Iterable[Edit]) -> Usual | None:
    """What is usual among edits, up to three robust standard deviations above the median; None of few."""
    values = np.array([edit.perceptual for edit in edits])
    if len(values) < _FEWEST:
        return None
    median = float(np.median(values))
    spread = float(np.median(np.abs(values - median)))
    return Usual(median, median + _DEVIATIONS * _NORMAL * spread)


def _settings(run: Run) -> list[object]:
    settings = run.config.repair.provenance({"batch_size", "generator"})
    if run.config.repair.tries != "smallest":
        del settings["reached"]  # no part of it, and not in the keys of earlier versions
    apart = [] if run.edits == run.root / "edits" else [str(run.edits.relative_to(run.root))]
    looking = perceptors_key(run, run.config.repair)
    return [scores_key(run), looking, settings, *apart]


def run_repair(run: Run) -> Work:
    """Repair the high-influence set; edits made already are kept."""
    stage = REPAIR.folder(run)
    repairer = Repairer(run)
    with editors(repairer) as workers:
        return (yield from _repair(stage, repairer, workers))


def _repair(stage: StageFolder, repairer: Repairer, workers: Workers) -> Work:
    run = repairer.run
    config = run.config.repair
    table = ranking(run)
    # an edit of an edit drifts; what an earlier round edited is left to a person
    again = table["id"].isin(list(earlier_edits(run))).to_numpy()
    high = np.flatnonzero(table["high"].to_numpy() & ~again)
    order = high[np.argsort(table["rank"].to_numpy()[high])]
    note = "edits start along a linear probe of z_sem" if repairer.uses_probe(config) else ""
    yield Progress("repair", 0, len(order), note)
    edit_all = partial(_edited, stage, repairer, workers)
    edits: dict[int, Edit] = {}
    spent: dict[int, float] = defaultdict(float)  # seconds of all attempts
    if config.tries == "smallest":
        yield from _smallest(edit_all, repairer, order, note, edits, spent)
    else:
        yield from edit_all(order, config, "repair", note)
        edits |= {int(p): _stored(repairer, int(p), config) for p in order}
        spent.update({p: edit.seconds for p, edit in edits.items()})
    if config.tries in ("flagged", "all"):
        yield from _tried(edit_all, repairer, edits, spent)
    versions = {edit.sample: edit.version for edit in edits.values()}
    if (found := usual(edits.values())) is not None:
        write_json(stage / USUAL, found._asdict())
    write_json(stage / "versions.json", versions)
    for file in stage.path.glob(_BATCHES.format("*")):
        file.unlink()
    return {
        "n": len(order),
        "seconds_of_edits": float(sum(spent.values())),
        "label_conditioned": repairer.condition is not None and config.use_label,
        "probe": repairer.uses_probe(config),
        "edited_in_earlier_rounds": int((table["high"].to_numpy() & again).sum()),
    }


#: which version of each high-influence sample the run made
REPAIR = Stage(
    "repair",
    run_repair,
    "edit the high-influence pictures",
    inputs=(PREDICTOR, JUDGE),
    settings=_settings,
    files=outside_files,
    version=METHOD,
)


def _stored(repairer: Repairer, position: int, config: RepairConfig) -> Edit:
    sample = str(repairer.train.ids[position])
    return load_edit(repairer.run, sample, repairer.version(position, config))


def _missing(repairer: Repairer, order: NDArray[np.int64], config: RepairConfig) -> list[int]:
    """The positions that are not edited yet under a configuration."""
    run, ids = repairer.run, repairer.train.ids
    folders = (edit_folder(run, str(ids[p]), repairer.version(int(p), config)) for p in order)
    return [int(p) for p, f in zip(order, folders, strict=True) if not (f / "edit.json").exists()]


def _batches(
    stage: StageFolder, repairer: Repairer, missing: list[int], config: RepairConfig
) -> list[Batch]:
    """The batches that are missing, as the stage first made them.

    A picture's last bits depend on the batch that it is edited in. So a batch of which a killed run stored a
    part is computed as a whole again, and what was stored of it stays.
    """
    size = config.batch_size
    file = stage / _BATCHES.format(digest(config.model_dump(mode="json")))
    planned: list[list[int]] = read_json(file) if file.exists() else []
    left = sorted(set(missing).difference(*planned), key=missing.index)
    if left:
        planned += [left[i : i + size] for i in range(0, len(left), size)]
        write_json(file, planned)
    wanted = set(missing)
    return [Batch(np.array(batch), config) for batch in planned if wanted & set(batch)]


def _edited(
    stage: StageFolder,
    repairer: Repairer,
    workers: Workers,
    order: NDArray[np.int64],
    config: RepairConfig,
    name: str,
    note: str,
) -> Iterator[Progress]:
    """Edit the positions under one configuration, but for those that are edited already."""
    missing = _missing(repairer, order, config)
    done, total = len(order) - len(missing), len(order)
    for what, now, of in repairer.prepare(config) if missing else ():
        yield Progress(name, done, total, f"{what}: {now} of {of}")
    batches, wanted, said = _batches(stage, repairer, missing, config), set(missing), note
    for event in edited(workers, repairer, batches) if batches else ():
        if isinstance(event, Preview):
            part = min(config.batch_size, total - done) * event.done / (event.total + 1)
            yield Progress(name, done + int(part), total, note, event.terms)
        elif isinstance(event, list):
            done += sum(repairer.train.position(edit.sample) in wanted for edit in event)
            yield Progress(name, done, total, said)
        else:
            said = "; ".join(filter(None, (note, str(event))))
            yield Progress(name, done, total, said)
    yield Progress(name, done, total, note)


def _strength(config: RepairConfig) -> str:
    return f"t0 {config.t0}" if config.strength == "t0" else f"guidance {config.guidance:g}"


def _smallest(
    edit_all: EditAll,
    repairer: Repairer,
    order: NDArray[np.int64],
    note: str,
    edits: dict[int, Edit],
    spent: dict[int, float],
) -> Iterator[Progress]:
    """Edit with a low t0, and with a higher one where that does not reach the label.

    ``edits`` receives for each position the first edit that reaches its label by the checkpoints, else
    the nearest.
    """
    config, best = repairer.run.config.repair, dict[int, float]()
    left, grid = order, strengths(config)
    for i, settings in enumerate(grid, 1):
        name = "repair" if i == 1 else "several"
        message = ", ".join(part for part in (_strength(settings), note) if part)
        yield from edit_all(left, settings, name, message)
        for start in range(0, len(left), config.batch_size):
            batch = left[start : start + config.batch_size]
            made = [_stored(repairer, int(p), settings) for p in batch]
            images = np.stack([read_edit(repairer.run, e.sample, e.version) for e in made])
            ratios = repairer.label_ratio(batch, images)
            for p, edit, ratio in zip(batch, made, ratios, strict=True):
                spent[int(p)] += edit.seconds
                if ratio > best.get(int(p), -1.0):
                    best[int(p)], edits[int(p)] = float(ratio), edit
        left = np.array([p for p in left if best[int(p)] < config.reached], np.int64)
        if not len(left):
            return


def _tried(
    edit_all: EditAll, repairer: Repairer, edits: dict[int, Edit], spent: dict[int, float]
) -> Iterator[Progress]:
    """Try the grid on flagged edits, or on all, and put the proposed ones in their place."""
    config = repairer.run.config.repair
    again = [p for p, edit in edits.items() if edit.flags or config.tries == "all"]
    grid = repairer.variants(config)
    for i, other in enumerate(grid[1:], 2):
        note = f"settings {i} of {len(grid)}"
        yield from edit_all(np.array(again, np.int64), other, "several", note)
    for p in again:
        made = [_stored(repairer, p, c) for c in grid]
        spent[p] = sum(edit.seconds for edit in made)
        edits[p] = propose(made, repairer.train.classes)
