"""The repair stage: a map over sample ids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diffinf_core.correction.edits import edit_folder
from diffinf_core.correction.repairer import Preview, Repairer, perceptors_key, scores_key
from diffinf_core.influence.stage import ranking
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.store import (
    Run,
    StageFolder,
    write_json,
)


def repair_stage(run: Run) -> StageFolder:
    """The folder that lists which version of each high-influence sample the run made."""
    settings = run.config.repair.model_dump(mode="json", exclude={"batch_size", "generator"})
    return run.stage("repair", scores_key(run), perceptors_key(run, run.config.repair), settings)


def has_repairs(run: Run) -> bool:
    """Whether the high-influence set is repaired; False also where no generator is at hand yet."""
    try:
        return repair_stage(run).done
    except DiffInfError:
        return False


def run_repair(run: Run) -> Iterator[Progress]:
    """Repair the high-influence set; edits made already are kept."""
    stage = repair_stage(run)
    repairer = Repairer(run)
    config = run.config.repair
    high = np.flatnonzero(ranking(run)["high"].to_numpy())
    order = high[np.argsort(ranking(run)["rank"].to_numpy()[high])]
    versions = {str(repairer.train.ids[p]): repairer.version(int(p), config) for p in order}
    missing = [
        int(p)
        for p in order
        if not (
            edit_folder(run, str(repairer.train.ids[p]), versions[str(repairer.train.ids[p])])
            / "edit.json"
        ).exists()
    ]
    done, total = len(order) - len(missing), len(order)
    note = "a linear probe of z_sem stands in for the label" if repairer.uses_probe(config) else ""
    yield Progress("repair", done, total, note)
    for what, now, of in repairer.prepare(config) if missing else ():
        yield Progress("repair", done, total, f"{what}: {now} of {of}")
    for start in range(0, len(missing), config.batch_size):
        batch = np.array(missing[start : start + config.batch_size])
        for event in repairer.repair(batch, config):
            if isinstance(event, Preview):
                part = len(batch) * event.done / (event.total + 1)
                yield Progress("repair", done + int(part), total, note, event.terms)
            else:
                done += len(event)
                yield Progress("repair", done, total, note)
    write_json(stage / "versions.json", versions)
    stage.finish({"n": total, "told_label": repairer.told is not None and config.use_label})
