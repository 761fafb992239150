"""Which checkpoints a score sums over, chosen from the training curve.

Once a network has memorised a wrong label, its gradient on that sample vanishes, so late checkpoints hide
what early ones show. The paper takes checkpoints at regular intervals over the whole training; two other
rules stop before memorisation.
"""

from __future__ import annotations

from typing import Any

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.classifier.training import snapshot_epochs
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run

#: amount by which the accuracy on the training labels may exceed validation accuracy before it counts as
#: memorisation; a network that generalises perfectly has a gap of about zero
GAP = 0.05
#: a single checkpoint makes a noisy score
FEWEST = 2


def training_curve(run: Run) -> list[dict[str, Any]]:
    """One row per epoch: epoch, train_loss, train_agreement, val_loss, val_accuracy, learning_rate."""
    return read_json(CLASSIFIER.folder(run) / "history.json")


def last_useful_epoch(curve: list[dict[str, Any]], rule: str) -> int:
    """The epoch after which ``rule`` keeps no checkpoint.

    ``all``: the last. ``early``: the lowest validation loss. ``agreement``: the last before the
    fraction of training labels that the network reproduces first exceeds validation accuracy by more
    than :data:`GAP`. Training labels are the noisy ones, so a network that has only learnt
    what generalises stays below.
    """
    if rule == "early":
        return int(min(curve, key=lambda row: row["val_loss"])["epoch"])
    if rule == "agreement":
        for row in curve:
            if row["train_agreement"] - row["val_accuracy"] > GAP:
                return int(row["epoch"]) - 1
    return int(curve[-1]["epoch"])


def checkpoint_epochs(run: Run) -> list[int]:
    """The epochs whose checkpoints the configuration sums over."""
    epochs = snapshot_epochs(run.config.classifier)
    rule = run.config.influence.checkpoint_rule
    if rule == "all":
        return epochs
    until = last_useful_epoch(training_curve(run), rule)
    return [e for i, e in enumerate(epochs) if e <= until or i < FEWEST]


def feature_epoch(run: Run) -> int:
    """The snapshot whose features are read: the last one before memorisation."""
    return checkpoint_epochs(run)[-1]
