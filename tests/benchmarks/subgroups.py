"""How often the audit of subgroups warns of a harm where there is none, into docs/subgroups.md:

    python -m tests.benchmarks.subgroups

Simulated: three arms that differ by chance alone. Pictures differ in how hard they are, and each training
shifts every group by a normal amount, so that the trainings of an arm vary by group.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffinf_core.experiments.differences import measure, tabulate
from diffinf_core.experiments.fairness import changed_groups, subgroups
from tests.arms import predictions
from tests.benchmarks.pages import ROOT, put

PICTURES, SEEDS, SETS = 400, 3, 200
#: standard deviations of the shift of a group, in deviations of what makes a picture hard
SPREADS = (0.0, 0.15, 0.4)
ARMS = ("noisy", "removal", "repaired")


def simulated(seed: int, spread: float) -> pd.DataFrame:
    """The table of one data set in which no arm differs from another."""
    rng = np.random.default_rng(seed)
    labels = np.arange(PICTURES) % 2
    columns = {
        "sex": rng.choice(["f", "m"], PICTURES),
        "skin": rng.choice(["1", "2", "3"], PICTURES),
    }
    groups = subgroups(pd.DataFrame(columns))
    ease = rng.normal(0.8, 0.8, PICTURES)

    def training() -> np.ndarray:
        shift = sum(member * rng.normal(0, spread) for member in groups.values())
        right = ease + shift + rng.normal(0, 0.5, PICTURES) > 0
        return predictions(labels, 2, right).astype(np.float32)

    p = {arm: np.stack([training() for _ in range(SEEDS)]) for arm in ARMS}
    return tabulate(measure(labels, p, "xy", groups, draws=500), "noisy")


def main() -> None:
    """Simulate and write the table."""
    lines = [
        "| deviation of a group's accuracy between trainings, points | data sets with a warning of harm, % |",
        "|---|---|",
    ]
    for spread in SPREADS:
        tables = [simulated(seed, spread) for seed in range(SETS)]
        alarms = [bool((changed_groups(table)["high"] < 0).any()) for table in tables]
        own = [table.loc[table["section"].str.startswith("by "), "sd"].mean() for table in tables]
        lines.append(f"| {100 * np.mean(own):.1f} | {100 * np.mean(alarms):.1f} |")
    head = (
        f"Simulated without any difference, {SETS} data sets each: {SEEDS} seeds, {len(ARMS) - 1} arms "
        f"against noisy, two columns with five groups in all, {PICTURES} test pictures."
    )
    put(ROOT / "docs" / "subgroups.md", "chance", "\n".join([head, "", *lines]))


if __name__ == "__main__":
    main()
