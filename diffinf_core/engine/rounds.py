"""Rounds: repair, rank again on the refined set, and so on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffinf_core.data.lineage import number as round_number
from diffinf_core.engine.pipeline import compute
from diffinf_core.experiments.rounds import STABLE, next_round, overlap, plan_round
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.records import Progress
from diffinf_core.report.summary import summarise
from diffinf_core.runs.run import Run


def run_rounds(run: Run, most: int) -> Iterator[Progress]:
    """At most ``most`` rounds in all, each a run of its own under ``rounds/``.

    Ends early where nothing is left to take over, or where half of the high-influence set was in the one
    before.
    """
    yield from compute(run)
    for done in range(1, most):
        following = next_round(run)
        if following is None:
            yield Progress("rounds", most, most, f"round {done} left nothing to take over")
            return
        yield Progress("rounds", done, most, f"round {done + 1}: {following.root}")
        yield from compute(following)
        fraction = overlap(run, following)
        run = following
        if fraction >= STABLE:
            note = f"stable: {fraction:.0%} of round {done + 1} was high-influence before"
            yield Progress("rounds", most, most, note)
            return
    yield Progress("rounds", most, most, str(run.root))


def round_figures(run: Run) -> list[dict[str, Any]]:
    """One dict per round so far: its folder, figures of its repair, overlap with the round before."""
    out: list[dict[str, Any]] = []
    before: Run | None = None
    while True:
        figures = summarise(run)
        influence, repair = figures["influence"] or {}, figures["repair"] or {}
        out.append(
            {
                "round": round_number(run),
                "folder": str(run.root),
                "edited": repair.get("n"),
                "seen_before": overlap(before, run) if before else None,
                "precision_at_tau": influence.get("precision_at_tau"),
                "judge_agreement_after": repair.get("judge_agreement_after"),
                "identity_mean": repair.get("identity_mean"),
                "arms": figures["arms"],
            }
        )
        plan = plan_round(run) if repair else None
        if plan is None or not plan.made or not INFLUENCE.folder(plan.target).done:
            return out
        run, before = plan.target, run
