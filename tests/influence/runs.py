"""The ranked run under another configuration."""

from __future__ import annotations

import shutil
from typing import Any

from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.runs.files import write_json
from diffinf_core.runs.run import Run


def with_influence(run: Run, **over: Any) -> Run:
    """The same folder under another influence configuration."""
    influence = run.config.influence.model_copy(update=over)
    return Run(run.root, run.config.model_copy(update={"influence": influence}))


def forget(run: Run, size: int = 64) -> None:
    """Take back every score, and score in small passes from now on."""
    shutil.rmtree(INFLUENCE.folder(run).path)
    shutil.rmtree(GRADIENTS.folder(run).path)
    plan = {"slice_size": size, "batch_size": 16}
    write_json(GRADIENTS.folder(run) / "plan.json", plan)
