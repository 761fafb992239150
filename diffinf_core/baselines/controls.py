"""Controls: what explains a gain of repair, if not the repair?

All but :class:`RandomRemoval` train plainly on a set that the problem makes; this module knows no
truth and makes none of them.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffinf_core.baselines.method import Method, Needs, Outcome
from diffinf_core.baselines.removal import Filtering, most_suspicious
from diffinf_core.baselines.repair import Repair
from diffinf_core.baselines.task import Task
from diffinf_core.records import Progress

_PLAIN = Needs(refined=True)
_TRUTH = Needs(refined=True, truth=True)


@dataclass(frozen=True)
class RandomRemoval(Filtering):
    """Drop a ``fraction`` at random: what removal does to the size of the training set alone."""

    fraction: float = 0.1

    name = "random_removal"
    title = "Random removal"

    @property
    def stages(self) -> int:
        """Nothing is trained to judge."""
        return 1

    def judge(self, task: Task, folder: Path) -> Generator[Progress, None, Outcome]:
        """Others under another seed."""
        yield from ()
        drawn = np.random.default_rng(task.seed).random(len(task.data))
        return Outcome(kept=~most_suspicious(drawn, self.fraction))


@dataclass(frozen=True)
class OracleRemoval(Repair):
    """As many samples as removal drops, all of them wrong: the best that removal can do."""

    name = "oracle_removal"
    title = "Oracle removal"
    paper = ""
    needs = _TRUTH
    cost = 1.0


@dataclass(frozen=True)
class NetworkRelabel(Repair):
    """The high-influence samples under the label that the classifier's checkpoints predict."""

    name = "network_relabel"
    title = "Relabelled by the network"
    paper = ""
    needs = _PLAIN


@dataclass(frozen=True)
class TrueRelabel(Repair):
    """The high-influence samples under their true labels: what a repair of the label is worth."""

    name = "true_relabel"
    title = "Relabelled with the truth"
    paper = ""
    needs = _TRUTH


@dataclass(frozen=True)
class Reconstruction(Repair):
    """The high-influence samples decoded without an edit: what the generator alone does to them."""

    name = "reconstruction"
    title = "Reconstruction, no guidance"
    paper = ""
    needs = _PLAIN


@dataclass(frozen=True)
class ClassifierGuided(Repair):
    """The repair with CE(f(x), y) in the place of the influence term of equation 12."""

    name = "classifier_guided"
    title = "Classifier-guided editing"
    paper = ""
    needs = _PLAIN


@dataclass(frozen=True)
class InfluenceOnly(Repair):
    """The influence term alone, with the freedom of every pixel: it satisfies h and shows anything."""

    name = "h_only"
    title = "h-only editing"
    paper = ""
    needs = _PLAIN


@dataclass(frozen=True)
class PerfectReview(Repair):
    """The repair after a reviewer who knows the truth: right labels kept, failed edits relabelled."""

    name = "perfect_review"
    title = "DiffInf, perfect reviewer"
    paper = ""
    needs = _TRUTH


@dataclass(frozen=True)
class CleanLabels(Repair):
    """Every label true: the upper bound."""

    name = "clean"
    title = "All labels true"
    paper = ""
    needs = _TRUTH
    cost = 1.0


#: name to class, in the order of the tables
CONTROLS: dict[str, type[Method]] = {
    control.name: control
    for control in (
        RandomRemoval,
        OracleRemoval,
        NetworkRelabel,
        TrueRelabel,
        Reconstruction,
        ClassifierGuided,
        InfluenceOnly,
        PerfectReview,
        CleanLabels,
    )
}
