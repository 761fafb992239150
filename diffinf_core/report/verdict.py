"""A comparison in words: what the figures show, how sure it is, and what they do not cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from diffinf_core.experiments.comparison import Comparison
from diffinf_core.experiments.differences import DRAWS, FEWEST
from diffinf_core.experiments.quantities import LOWER_IS_BETTER

TITLES = {
    "accuracy": "accuracy, %",
    "balanced_accuracy": "balanced accuracy, %",
    "auroc": "AUROC, %",
    "kappa_linear": "linear kappa",
    "kappa": "kappa",
    "ece": "calibration error, %",
    "nll": "log loss",
}
_NOT_IN_PERCENT = ("kappa_linear", "kappa", "nll")


def form(section: str, name: str) -> tuple[float, int]:
    """What a figure is multiplied by where it is shown, and its decimals: most are in per cent."""
    return (1.0, 2) if section == "metric" and name in _NOT_IN_PERCENT else (100.0, 1)


def value_text(row: Any) -> str:
    """A figure with its deviation over seeds; ``row`` is one of :func:`~.compare.tidy`."""
    if np.isnan(row.value):
        return "-"
    by, digits = form(row.section, row.name)
    spread = "" if np.isnan(row.sd) else f" ± {by * row.sd:.{digits}f}"
    return f"{by * row.value:.{digits}f}{spread}"


def change_text(row: Any) -> list[str]:
    """A difference and its interval, a line each; a word behind it only where the interval excludes 0."""
    if np.isnan(row.difference):
        return []
    by, digits = form(row.section, row.name)
    text = f"{by * row.difference:+.{digits}f}"
    if np.isnan(row.low):
        return [text, "too few pictures"]
    if row.low > 0 or row.high < 0:
        lower = row.section == "metric" and row.name in LOWER_IS_BETTER
        text += " better" if (row.difference > 0) != lower else " worse"
    return [text, f"{by * row.low:+.{digits}f} to {by * row.high:+.{digits}f}"]


def _cell(row: Any) -> str:
    return "\n".join([value_text(row), *change_text(row)])


def arms_in_words(table: pd.DataFrame) -> pd.DataFrame:
    """A row per arm, a column per metric: a line each for the figure, its difference, the interval."""
    metrics = table[table["section"] == "metric"]
    rows = []
    for arm, part in metrics.groupby("arm", sort=False):
        row = {"arm": str(arm), "training pictures": f"{part['n_train'].iloc[0]:,}"}
        row |= {TITLES[str(line.name)]: _cell(line) for line in part.itertuples(index=False)}
        rows.append(row)
    return pd.DataFrame(rows)


def parts_in_words(table: pd.DataFrame, sections: Sequence[str]) -> pd.DataFrame:
    """A row per class or subgroup, a column per arm, as :func:`arms_in_words`."""
    chosen = table[table["section"].isin(sections)]
    rows = []
    for (section, name), part in chosen.groupby(["section", "name"], sort=False):
        row = {
            "of": f"{str(section).removeprefix('by ')}: {name}",
            "test pictures": f"{part['n'].iloc[0]:,}",
        }
        row |= {str(line.arm): _cell(line) for line in part.itertuples(index=False)}
        rows.append(row)
    return pd.DataFrame(rows)


def coverage(c: Comparison) -> str:
    """What the intervals cover, and what they do not."""
    n, seeds = len(c.labels), c.measured.seeds
    said = [
        f"Intervals are 95 %, from {DRAWS:,} paired bootstrap draws of the {n:,} test pictures (the same "
        "ones for every arm, each class keeping its size)"
        + (f" and of the {seeds} seeds." if seeds > 1 else ".")
    ]
    if seeds == 1:
        said.append("With one seed they leave out how much a training varies by chance.")
    said.append(
        "They cover chance in the test pictures"
        + (f" and, as far as {seeds} seeds show it, in training" if seeds > 1 else "")
        + "; not another draw of wrong labels, another data set, or a choice among settings. "
        "They are not corrected for the number of arms and metrics: where nothing differs, about one in "
        f"twenty excludes 0 all the same. Below {FEWEST} pictures there is none."
    )
    if c.people:
        said.append(f"Pictures with one {c.people} count as independent of each other.")
    if not c.clean:
        said.append("The test labels are as given, and may be wrong as well.")
    return " ".join(said)


def helped(c: Comparison) -> list[str]:
    """Whether repairs and reviews helped, against noisy and against removal, in accuracy with intervals."""
    said = []
    at = c.measured.index("metric", "accuracy")
    for arm in ("repaired", "reviewed"):
        for against in ("noisy", "removal"):
            if arm not in c.arms or against not in c.arms:
                continue
            found = c.measured.difference(arm, against, at)
            assert found is not None  # every arm has an accuracy
            text = (
                f"{arm.capitalize()} against {against}: {100 * found.value:+.1f} points of accuracy"
            )
            if found.low is None or found.high is None:
                said.append(f"{text}; too few test pictures to say more.")
                continue
            text += f" (95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f})"
            if not found.excludes_zero:
                text += ", which leaves open whether they differ"
            said.append(f"{text}.")
    return said


def repairs(repair: dict[str, Any] | None) -> list[str]:
    """What the independent judge says about the repairs, from the report's repair section."""
    if not repair:
        return []
    said = [
        f"The independent judge sees the assigned label in {repair['judge_agreement_after']:.0%} "
        f"of {repair['n']} edits; in the originals it was {repair['judge_agreement_before']:.0%}."
    ]
    wrong = repair["judge_agreement_mislabelled"]
    if wrong is not None:
        said.append(f"Among the edits of wrongly labelled pictures it is {wrong:.0%}.")
    fooled = repair["flagged"].get("adversarial", 0)
    if fooled:
        said.append(f"{fooled} edits satisfy the guide but not the judge: look at them first.")
    return said


def reading(c: Comparison, repair: dict[str, Any] | None) -> str:
    """What the figures say; nothing is claimed that they do not show."""
    return " ".join(
        [
            *repairs(repair),
            *helped(c),
            "Accuracy alone does not prove a repair: edits that only fool the guide retrain as well.",
        ]
    )
