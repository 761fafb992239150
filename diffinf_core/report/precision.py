"""The precision of the ranking as planted errors and reviewers show it, side by side and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import sqrt
from typing import Any

import numpy as np

from diffinf_core.config import estimator_names
from diffinf_core.influence.confidence import CONFIDENCE
from diffinf_core.influence.estimators import high_influence_count
from diffinf_core.influence.feature_confidence import FEATURE_CONFIDENCE
from diffinf_core.influence.planted import PLANTED, planted_errors
from diffinf_core.influence.precision import GRID, LEVEL, Estimate
from diffinf_core.influence.stage import INFLUENCE, estimator_of, ranking, ranking_key
from diffinf_core.records import Decision, DiffInfError
from diffinf_core.review.precision import judgements, reviewed_precision
from diffinf_core.runs.files import digest
from diffinf_core.runs.run import Run

#: per cent at which precision is given, beside the run's own tau
TAUS = (2.0, 5.0, 10.0, 20.0, 30.0)


def planted_figures(run: Run) -> dict[str, Any] | None:
    """What planted errors show; None where none are planted.

    ``planted`` (their number), ``n``, ``wrong`` (labels of the training split; ``lower_bound`` too),
    ``estimator``, ``tau``, ``best`` (the score that ranks them best), ``scores`` (of each
    ``average_precision``, and ``precision`` by tau), and ``curve`` of the estimator: ``tau`` and ``value``,
    ``low``, ``high`` of each. Estimates have value, low and high, of a 95 % interval.
    """
    if not PLANTED.done(run):
        return None
    errors, estimator, tau = planted_errors(run), estimator_of(run), run.config.influence.tau
    taus = sorted({*TAUS, tau})
    names = [str(name) for name in errors.scores]
    if all(part in names for part in estimator.split("+")) and estimator not in names:
        names.append(estimator)
    scores = {}
    for name in names:
        found = errors.assess(name, taus)
        at = {f"{key:g}": value.as_dict() for key, value in found["precision"].items()}
        scores[name] = {"average_precision": found["average_precision"].as_dict(), "precision": at}
    curve = {}
    if estimator in scores:
        draws = errors.curve(estimator)
        low, high = np.quantile(draws[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        curve = {"tau": (100 * GRID).round(6).tolist(), "value": draws[0].tolist()}
        curve |= {"low": low.tolist(), "high": high.tolist()}
    return {
        "planted": len(errors.positions),
        "n": len(errors),
        "wrong": errors.wrong.as_dict() | {"lower_bound": errors.bound},
        "estimator": estimator,
        "tau": tau,
        "best": PLANTED.folder(run).figures["best"],
        "scores": scores,
        "curve": curve,
    }


def reviewed_figures(run: Run, decisions: Mapping[str, Decision]) -> dict[str, Any] | None:
    """What reviewers show at each tau and at the run's own (``at_tau``); None with too few decisions."""
    table, tau = ranking(run), run.config.influence.tau

    def at(value: float) -> dict[str, Any] | None:
        k = high_influence_count(len(table), value)
        found = reviewed_precision(table["id"], table["rank"].to_numpy(), decisions, value, k)
        return None if found is None else asdict(found)

    curve = [found for value in sorted({*TAUS, tau}) if (found := at(value)) is not None]
    return {"at_tau": at(tau), "curve": curve} if curve else None


def precision_key(run: Run, decisions: Mapping[str, Decision]) -> str:
    """What :func:`precision_figures` depends on."""
    said = sorted(judgements(decisions).items())
    # their scores join the others once they are there
    folds = [CONFIDENCE.done(run), FEATURE_CONFIDENCE.done(run)]
    return digest(ranking_key(run), PLANTED.key(run), PLANTED.done(run), folds, said)


def precision_figures(run: Run, decisions: Mapping[str, Decision]) -> dict[str, Any] | None:
    """``planted``, ``reviewed`` and their comparison ``in_words``; None before the ranking."""
    if not INFLUENCE.folder(run).done:
        return None
    planted, reviewed = planted_figures(run), reviewed_figures(run, decisions)
    return {"planted": planted, "reviewed": reviewed, "in_words": in_words(planted, reviewed)}


def in_words(planted: dict[str, Any] | None, reviewed: dict[str, Any] | None) -> list[str]:
    """Sentences: what planted errors show, what reviewers show, and where the two differ."""
    said = []
    mine = None
    if planted is not None:
        wrong = planted["wrong"]
        said.append(
            f"About {wrong['value']:,.0f} of {planted['n']:,} labels are wrong (95 % interval "
            f"{wrong['low']:,.0f} to {wrong['high']:,.0f}; the network confidently contradicts "
            f"{wrong['lower_bound']:,.0f}, a lower bound as far as it is right), by "
            f"{planted['planted']} planted errors."
        )
        if planted["estimator"] in planted["scores"]:
            rows = planted["scores"][planted["estimator"]]["precision"]
            mine = Estimate(**rows[f"{planted['tau']:g}"])
            said.append(
                f"Ranked by {planted['estimator']}, an estimated {_percent(mine)} of the top "
                f"{planted['tau']:g} % are wrong."
            )
        best = planted["best"]
        if best != planted["estimator"]:
            said.append(f"The score that ranks planted errors best is {best}.")
    theirs = reviewed and reviewed["at_tau"]
    if theirs:
        found = Estimate(theirs["value"], theirs["low"], theirs["high"])
        said.append(
            f"Reviewers decided on {theirs['decided']} of the {theirs['k']} labels there and "
            f"{theirs['as_decided']:.0%} of those are wrong; corrected for the order of review it is "
            f"{_percent(found)} of all of them."
        )
        if theirs["unseen"] > 0:
            said.append(
                f"{theirs['unseen']:.0%} of the top {theirs['tau']:g} % lie in ranks of which nothing is "
                "decided; of these it is assumed that no larger fraction is wrong than above them."
            )
        if mine is not None:
            said.append(disagreement(mine, found))
    return said


def _percent(e: Estimate) -> str:
    return f"{e.value:.0%} ({e.low:.0%} to {e.high:.0%})"


def disagreement(planted: Estimate, reviewed: Estimate) -> str:
    """Whether the two differ, by an interval of their difference from both (Zou and Donner 2008)."""
    apart = reviewed.value - planted.value
    low = apart - sqrt((reviewed.value - reviewed.low) ** 2 + (planted.high - planted.value) ** 2)
    high = apart + sqrt((reviewed.high - reviewed.value) ** 2 + (planted.value - planted.low) ** 2)
    points = f"{100 * apart:+.0f} points ({100 * low:+.0f} to {100 * high:+.0f})"
    if low <= 0 <= high:
        return f"Reviewers and planted errors agree within their intervals: {points}."
    if apart < 0:
        return (
            f"Reviewers find fewer wrong labels than planted errors suggest: {points}. Planted errors may "
            "be easier to find than the wrong labels here, or reviewers overlook some; go by the reviewers."
        )
    return (
        f"Reviewers find more wrong labels than planted errors suggest: {points}. The wrong labels here may "
        "be easier to find, or of other classes, than the planted ones; go by the reviewers."
    )


def tau_words(run: Run, wished: float) -> str:
    """Up to which tau a wished precision in (0, 1] holds, by planted errors, in a sentence.

    Raises :class:`DiffInfError` where none are planted, or the score was not computed with them.
    """
    estimator, errors = estimator_of(run), planted_errors(run)
    missing = [name for name in estimator_names(estimator) if name not in errors.scores]
    if missing:
        raise DiffInfError(
            f"{missing[0]} was not computed with planted errors; rank by another score."
        )
    if not 0 < wished <= 1:
        raise DiffInfError(f"A precision is a fraction in (0, 1], not {wished:g}.")
    estimate, sure = errors.tau_for(estimator, wished)
    if estimate is None:
        return f"No tau holds a precision of {wished:.0%} by {estimator}."
    held = (
        f"tau = {estimate:g} is the largest that holds a precision of {wished:.0%} by {estimator}"
    )
    if sure is None:
        return f"{held}; by the lower end of the interval none does."
    return f"{held}; by the lower end of the interval it is tau = {sure:g}."
