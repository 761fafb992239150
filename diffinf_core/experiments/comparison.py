"""The arms of a run side by side on its test split: figures, confusions, calibration, single pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.classifier.metrics import ECE_BINS, confidence_bin
from diffinf_core.data.part import Part
from diffinf_core.data.profile import profile_of
from diffinf_core.data.truth import open_truth
from diffinf_core.experiments.differences import Measured, measure, tabulate
from diffinf_core.experiments.fairness import cells, subgroups
from diffinf_core.experiments.retrain import finished_arms
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest, read_json
from diffinf_core.runs.run import Run


@dataclass(frozen=True)
class Comparison:
    """What every retrained arm says about every test picture, measured.

    ``labels`` (N,) are class indices, ``probabilities`` maps an arm to (S, N, C), ``n_train`` to the size of
    its training set. ``groups`` maps (section, value) to its members (N,). ``clean`` tells whether the test
    labels are known to be right, ``people`` the column of pictures that belong together, if there is one.
    """

    key: str
    classes: tuple[str, ...]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    probabilities: dict[str, NDArray[np.float32]]
    n_train: dict[str, int]
    groups: dict[tuple[str, str], NDArray[np.bool_]]
    measured: Measured
    clean: bool
    people: str | None

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, in the order of the configuration."""
        return self.measured.arms

    @property
    def reference(self) -> str:
        """What differences are taken to unless asked otherwise: noisy, else the first arm."""
        return "noisy" if "noisy" in self.arms else self.arms[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """The sections of the columns whose values are subgroups."""
        return tuple(dict.fromkeys(q.section for q in self.measured.quantities if q.is_group))

    def known(self, *arms: str) -> None:
        """:class:`DiffInfError` for an arm that is not there."""
        for arm in arms:
            if arm not in self.arms:
                raise DiffInfError(
                    f"There is no finished arm {arm!r}; choose one of {', '.join(self.arms)}."
                )


def comparison_key(run: Run) -> str:
    """Changes when an arm is finished, or belongs to other data."""
    return digest({arm: [s.key for s in stages] for arm, stages in finished_arms(run).items()})


def compare(run: Run) -> Comparison:
    """Read and measure the finished arms; :class:`DiffInfError` where there is none yet."""
    arms = finished_arms(run)
    if not arms:
        raise DiffInfError("No arm is retrained yet: start 'Retrain and compare'.")
    truth = open_truth(run, "comparison")
    test = truth.test()
    probabilities = {
        arm: np.stack([_read(s / "test_probabilities.npy") for s in stages])
        for arm, stages in arms.items()
    }
    groups = subgroups(truth.test_columns())
    parts = groups | cells(groups, test.labels, test.classes)
    return Comparison(
        key=comparison_key(run),
        classes=test.classes,
        ids=test.ids,
        labels=test.labels,
        probabilities=probabilities,
        n_train={arm: int(stages[0].figures["n"]) for arm, stages in arms.items()},
        groups=groups,
        measured=measure(test.labels, probabilities, test.classes, parts),
        clean=profile_of(run).clean_test,
        people=test.group_column if _repeated(test) else None,
    )


def _repeated(test: Part) -> bool:
    """Whether some pictures of the test split belong together."""
    return test.groups is not None and len(np.unique(test.groups)) < len(test)


def _read(file: Path) -> NDArray[np.float32]:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DiffInfError(
            f"{file} cannot be read; remove the folder {file.parent} and retrain this arm again."
        ) from error


def tidy(c: Comparison, against: str) -> pd.DataFrame:
    """Every figure of every arm with its difference to ``against``, see :func:`.differences.tabulate`.

    One column more, n_train, is the size of the arm's training set.
    """
    c.known(against)
    table = tabulate(c.measured, against)
    table.insert(4, "n_train", table["arm"].map(c.n_train))
    return table


def confusion(c: Comparison, arm: str) -> NDArray[np.float64]:
    """Pictures of each class (row) given each class (column), mean over seeds, (C, C)."""
    c.known(arm)
    count = len(c.classes)
    predicted = c.probabilities[arm].argmax(2)
    cells = (c.labels * count + predicted).ravel()
    return np.bincount(cells, minlength=count**2).reshape(count, count) / len(predicted)


def calibration(c: Comparison, arm: str) -> pd.DataFrame:
    """A row per bin of confidence: from, to, n (over all seeds), confidence, accuracy (NaN if empty)."""
    c.known(arm)
    p = c.probabilities[arm].astype(np.float64)
    p /= p.sum(2, keepdims=True)
    confidence, hit = p.max(2).ravel(), (p.argmax(2) == c.labels).ravel()
    at = confidence_bin(confidence)
    n = np.bincount(at, minlength=ECE_BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(at, confidence, ECE_BINS) / n
        right = np.bincount(at, hit, ECE_BINS) / n
    edges = np.arange(ECE_BINS + 1) / ECE_BINS
    return pd.DataFrame(
        {"from": edges[:-1], "to": edges[1:], "n": n, "confidence": mean, "accuracy": right}
    )


def changed(c: Comparison, arm: str, against: str, every_seed: bool = True) -> pd.DataFrame:
    """The test pictures that ``arm`` gets right and ``against`` wrong, largest change first.

    Right and wrong in every seed, or else in more than half of them. Columns: id, label, p_arm and
    p_against (mean probability of the label), says_arm and says_against (class of the highest mean),
    right_arm and right_against (in how many seeds).
    """
    c.known(arm, against)
    seeds = c.measured.seeds
    found = {}
    for name, which in (("arm", arm), ("against", against)):
        p = c.probabilities[which]
        found[f"right_{name}"] = (p.argmax(2) == c.labels).sum(0)
        mean = p.mean(0, dtype=np.float64)
        found[f"p_{name}"] = mean[np.arange(len(mean)), c.labels]
        found[f"says_{name}"] = np.array(c.classes)[mean.argmax(1)]
    right, wrong = found["right_arm"], seeds - found["right_against"]
    least = seeds if every_seed else seeds // 2 + 1
    table = pd.DataFrame({"id": c.ids, "label": np.array(c.classes)[c.labels], **found})
    table["change"] = table["p_arm"] - table["p_against"]
    table = table[(right >= least) & (wrong >= least)]
    return table.sort_values("change", ascending=False, kind="stable", ignore_index=True)


def histories(run: Run) -> pd.DataFrame:
    """The course of every training: arm, seed, epoch and what was noted after it."""
    rows = []
    for arm, stages in finished_arms(run).items():
        for seed, stage in enumerate(stages):
            file = stage / "history.json"
            if file.exists():
                rows += [{"arm": arm, "seed": seed, **line} for line in read_json(file)]
    return pd.DataFrame(rows, columns=None if rows else ["arm", "seed", "epoch"])
