"""Stages in order, and what repeats them: retraining, rounds, ablation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.config import RunConfig
from diffinf_core.data.ingest import preflight
from diffinf_core.data.lineage import number as round_number
from diffinf_core.engine.pipeline import PIPELINE, STAGES
from diffinf_core.experiments.ablation import run_ablation, summary, varied
from diffinf_core.experiments.retrain import RETRAIN
from diffinf_core.experiments.rounds import STABLE, next_round, overlap, plan_round
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.report.ablation import in_words, write_page
from diffinf_core.report.summary import summarise
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import CONFIG_FILE, Run
from diffinf_core.runs.stages import compute, outdated, status


class Computing:
    """One run folder and what computes in it."""

    def __init__(self, root: Path, config: RunConfig | None = None) -> None:
        if config is not None and not (root / CONFIG_FILE).exists():
            preflight(config.data)
        self.run = Run.open(root) if config is None else Run.prepare(root, config)

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.run.config

    def status(self) -> dict[str, bool]:
        """Which stages are complete for the present configuration."""
        return status(self.run, PIPELINE)

    def outdated(self) -> str | None:
        """One sentence where another version of DiffInf computed the run, so that it must be done again."""
        return outdated(self.run, PIPELINE)

    def compute(self, until: str = "repair") -> Iterator[Progress]:
        """Run every stage up to ``until`` that is not complete; close the generator to cancel."""
        if until not in STAGES:
            raise DiffInfError(f"Unknown stage {until!r}; choose one of {', '.join(STAGES)}.")
        with self.run.lock():
            yield from compute(self.run, PIPELINE, until)

    def retrain(self, workers: int | None = None) -> Iterator[Progress]:
        """Retrain and evaluate the arms that are missing."""
        if not self.status()["influence"]:
            raise DiffInfError(f"{self.run.root} is not ranked yet; run it first.")
        with self.run.lock():
            yield from RETRAIN.compute(self.run, workers=workers)
            write_json(self.run.root / "report.json", self.report())

    def rounds(self, most: int) -> Iterator[Progress]:
        """Repair, rank again on the refined set, and so on: at most ``most`` rounds in all.

        Each is a run of its own under ``rounds/``; it ends early where nothing is left to take over, or
        where half of the high-influence set was in the one before. Decisions of reviewers are followed;
        undecided edits are taken over where they have no flag.
        """
        run = self.run
        yield from self.compute()
        for done in range(1, most):
            following = next_round(run)
            if following is None:
                yield Progress("rounds", most, most, f"round {done} left nothing to take over")
                return
            yield Progress("rounds", done, most, f"round {done + 1}: {following.root}")
            yield from type(self)(following.root, self.config).compute()
            share = overlap(run, following)
            run = following
            if share >= STABLE:
                note = f"stable: {share:.0%} of round {done + 1} was high-influence before"
                yield Progress("rounds", most, most, note)
                return
        yield Progress("rounds", most, most, str(run.root))

    def round_figures(self) -> list[dict[str, Any]]:
        """What each round so far did: its folder, the report's repair section, overlap with the last."""
        out: list[dict[str, Any]] = []
        run, before = self.run, None
        while True:
            found = summarise(run)
            influence, repair = found["influence"] or {}, found["repair"] or {}
            out.append(
                {
                    "round": round_number(run),
                    "folder": str(run.root),
                    "edited": repair.get("n"),
                    "seen_before": overlap(before, run) if before else None,
                    "precision_at_tau": influence.get("precision_at_tau"),
                    "judge_agreement_after": repair.get("judge_agreement_after"),
                    "identity_mean": repair.get("identity_mean"),
                    "arms": found["arms"],
                }
            )
            plan = plan_round(run) if repair else None
            if plan is None or not plan.made or not INFLUENCE.folder(plan.target).done:
                return out
            run, before = plan.target, run

    def ablate(
        self,
        vary: Mapping[str, Sequence[Any]] | None = None,
        seeds: int = 1,
        images: int = 48,
        retrain: bool = False,
    ) -> Iterator[Progress]:
        """What each part of the repair is worth; the table is then :meth:`ablation`.

        ``vary`` maps dotted settings to values, of which every combination is tried; None is the plan
        that takes the default apart. ``images`` of the high-influence set are edited in each cell.
        """
        variants = None if vary is None else varied(vary)
        with self.run.lock():
            cells = 0
            for event in run_ablation(
                self.run,
                lambda run: compute(run, PIPELINE, "judge"),
                variants,
                seeds,
                images,
                retrain,
            ):
                if event.done > cells:
                    cells = event.done
                    write_page(self.run.root / "ablation")
                yield event

    def ablation(self) -> pd.DataFrame:
        """The last ablation: a row per variant, mean and ``_sd`` over seeds."""
        file = self.run.root / "ablation" / "ablation.json"
        if not file.exists():
            raise DiffInfError(f"{self.run.root} has no ablation yet; 'diffinf ablate' makes one.")
        return summary(read_json(file))

    def ablation_in_words(self) -> list[list[str]]:
        """The same as text, header first."""
        return in_words(self.ablation())

    def report(self) -> dict[str, Any]:
        """The run in figures."""
        return summarise(self.run)
