"""Stages in order, and what repeats them: retraining, rounds, ablation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.classifier.stage import classifier_stage, evaluate_classifier, run_classifier
from diffinf_core.config import RunConfig
from diffinf_core.correction.judge import judge_stage, run_judge
from diffinf_core.correction.stage import repair_stage, run_repair
from diffinf_core.data.ingest import data_stage, ingest, preflight
from diffinf_core.data.lineage import number as round_number
from diffinf_core.data.truth import source_table
from diffinf_core.experiments.ablation import run_ablation, summary, varied
from diffinf_core.experiments.retrain import run_retrain
from diffinf_core.experiments.rounds import STABLE, next_round, overlap, plan_round
from diffinf_core.influence.predictor import predictor_stage, run_predictor
from diffinf_core.influence.stage import (
    influence_stage,
    run_influence,
)
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.report.ablation import in_words, write_page
from diffinf_core.report.summary import summarise
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import CONFIG_FILE, Run, StageFolder
from diffinf_core.runs.seal import sealed

_Stage = tuple[Callable[[Run], StageFolder], Callable[[Run], Iterator[Progress]]]
#: all but the data stage, which writes the truth, work under a seal
STAGES: dict[str, _Stage] = {
    "data": (data_stage, ingest),
    "classifier": (classifier_stage, run_classifier),
    "influence": (influence_stage, run_influence),
    "predictor": (predictor_stage, run_predictor),
    "judge": (judge_stage, run_judge),
    "repair": (repair_stage, run_repair),
}

#: what completes a stage with the truth once its sealed work is over
EVALUATED: dict[str, Callable[[Run], Iterator[Progress]]] = {"classifier": evaluate_classifier}


def _computed(run: Run, until: str) -> Iterator[Progress]:
    for name, (folder, work) in STAGES.items():
        stage = folder(run)
        if stage.done:
            yield Progress(name, 1, 1, "done already")
        else:
            began = time.perf_counter()
            yield from work(run) if name == "data" else sealed(work(run), source_table(run))
            if name in EVALUATED:
                yield from EVALUATED[name](run)
            seconds = round(time.perf_counter() - began, 2)
            stage.finish({**stage.figures, "seconds": seconds})
            yield Progress(name, 1, 1, f"done in {seconds:.0f} s")
        if name == until:
            return


class Computing:
    """One run folder and what computes in it."""

    def __init__(self, root: Path, config: RunConfig | None = None) -> None:
        if config is not None and not (root / CONFIG_FILE).exists():
            preflight(config.data)
        self.run = Run.open(root, config)

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.run.config

    def status(self) -> dict[str, bool]:
        """Which stages are complete for the present configuration."""
        out: dict[str, bool] = {}
        for name, (folder, _) in STAGES.items():
            # A stage's key can depend on files that an earlier one writes.
            try:
                out[name] = all(out.values()) and folder(self.run).done
            except DiffInfError:
                out[name] = False
        return out

    def compute(self, until: str = "repair") -> Iterator[Progress]:
        """Run every stage up to ``until`` that is not complete; close the generator to cancel."""
        if until not in STAGES:
            raise DiffInfError(f"Unknown stage {until!r}; choose one of {', '.join(STAGES)}.")
        with self.run.lock():
            yield from _computed(self.run, until)

    def retrain(self, workers: int | None = None) -> Iterator[Progress]:
        """Retrain and evaluate the arms that are missing."""
        if not self.status()["influence"]:
            raise DiffInfError(f"{self.run.root} is not ranked yet; run it first.")
        with self.run.lock():
            yield from run_retrain(self.run, workers)
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
            if plan is None or not plan.made or not influence_stage(plan.target).done:
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
                self.run, lambda run: _computed(run, "judge"), variants, seeds, images, retrain
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
