"""What a run's pictures tell a generator: labels that the ranking trusts, and covariates from columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.part import Part
from diffinf_core.diffusion.autoencoder import Attribute
from diffinf_core.influence.stage import read_scores
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run

#: what trust is taken from: wrong labels keep a high loss while right ones are learnt
TRUST_SCORE = "mean_loss"
#: groups of a covariate
FEWEST, MOST = 2, 20
#: fraction of labels that are trusted where nobody made labels wrong on purpose
_USUAL_TRUST = 0.8


def trusted_fraction(noise_rate: float) -> float:
    """The fraction of labels to trust: one and a half times the known rate of wrong ones is left out.

    The ranking does not find every wrong label before the first right one: at 20 % noise the least
    suspicious 70 % hold about 4 % wrong labels, and at 30 % the least suspicious 55 % about 8 %.
    """
    return round(1 - 1.5 * noise_rate, 3) if noise_rate else _USUAL_TRUST


def trusted(run: Run, train: Part, fraction: float | None) -> NDArray[np.bool_]:
    """Which training labels (N,) to train on: the least suspicious ``fraction``.

    None: as :func:`trusted_fraction` says.

    Raises :class:`DiffInfError` for a run that is not ranked.
    """
    fraction = trusted_fraction(run.config.noise.rate) if fraction is None else fraction
    if fraction >= 1:
        return np.ones(len(train), bool)
    scores = read_scores(run)[TRUST_SCORE].to_numpy()
    out = np.zeros(len(train), bool)
    out[np.argsort(scores, kind="stable")[: max(1, round(fraction * len(train)))]] = True
    return out


def covariate(table: pd.DataFrame, column: str) -> Attribute:
    """A column of the training table as a covariate; empty cells are unknown.

    Raises :class:`DiffInfError` for a column that is not there or does not hold 2 to 20 groups.
    """
    if column not in table:
        known = ", ".join(c for c in table.columns if c not in ("id", "file", "label"))
        raise DiffInfError(
            f"There is no column {column!r} to keep fixed; the table has {known or 'no others'}."
        )
    groups = sorted(set(table[column].astype(str)) - {"", "nan"})
    if not FEWEST <= len(groups) <= MOST:
        raise DiffInfError(
            f"The column {column!r} holds {len(groups)} groups; a covariate needs {FEWEST} to {MOST}: put "
            "its values into few coarse groups in a column of their own."
        )
    return Attribute(name=column, classes=tuple(groups), covariate=True)


def covariate_indices(table: pd.DataFrame, attributes: Sequence[Attribute]) -> NDArray[np.int64]:
    """The covariates (N, K) of rows, -1 where a cell is empty, new, or the column missing."""
    out = np.full((len(table), len(attributes)), -1, np.int64)
    for i, attribute in enumerate(attributes):
        if attribute.name in table:
            index = {name: k for k, name in enumerate(attribute.classes)}
            values = table[attribute.name].astype(str)
            out[:, i] = [index.get(value, -1) for value in values]
    return out
