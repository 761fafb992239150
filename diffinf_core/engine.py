"""The only door for the command line and the user interface: stages in order, and the review verbs.

A stage takes the run folder and yields progress; it holds no live object across calls, so the same
plan can be driven by a thread, a process or a cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from diffinf_core import config as configuration
from diffinf_core.classifier.stage import classifier_stage, run_classifier
from diffinf_core.config import RepairConfig, RunConfig
from diffinf_core.correction.edits import edit_folder, load_edit, versions_of
from diffinf_core.correction.judge import judge_stage, run_judge
from diffinf_core.correction.repairer import Preview, Repairer
from diffinf_core.correction.search import propose
from diffinf_core.correction.stage import repair_stage, run_repair
from diffinf_core.data.folder import Listing, Problem, check_folder
from diffinf_core.data.ingest import data_stage, ingest, preflight
from diffinf_core.data.lineage import number as round_number
from diffinf_core.data.training import Part, open_training
from diffinf_core.export.folder import export_folder
from diffinf_core.export.rounds import STABLE, next_round, overlap, plan_round
from diffinf_core.influence.checkpoints import checkpoint_epochs, training_curve
from diffinf_core.influence.estimators import ESTIMATORS, agreement
from diffinf_core.influence.predictor import predictor_stage, run_predictor
from diffinf_core.influence.stage import (
    influence_stage,
    ranking,
    read_scores,
    request_stage,
    requested,
    run_influence,
    run_request,
)
from diffinf_core.records import Decision, DiffInfError, Edit, Progress
from diffinf_core.report import plots
from diffinf_core.report.ablation import in_words, run_ablation, summary, varied
from diffinf_core.report.retrain import run_retrain
from diffinf_core.report.summary import summarise
from diffinf_core.review.journal import Journal
from diffinf_core.review.queue import build_queue, open_journal
from diffinf_core.store import CONFIG_FILE, Run, StageFolder, read_json, write_json

__all__ = ["ESTIMATORS", "STAGES", "Engine"]

_Stage = tuple[Callable[[Run], StageFolder], Callable[[Run], Iterator[Progress]]]
STAGES: dict[str, _Stage] = {
    "data": (data_stage, ingest),
    "classifier": (classifier_stage, run_classifier),
    "influence": (influence_stage, run_influence),
    "predictor": (predictor_stage, run_predictor),
    "judge": (judge_stage, run_judge),
    "repair": (repair_stage, run_repair),
}


def _computed(run: Run, until: str) -> Iterator[Progress]:
    for name, (folder, work) in STAGES.items():
        stage = folder(run)
        if stage.done:
            yield Progress(name, 1, 1, "done already")
        else:
            began = time.perf_counter()
            yield from work(run)
            seconds = round(time.perf_counter() - began, 2)
            stage.finish({**stage.figures, "seconds": seconds})
            yield Progress(name, 1, 1, f"done in {seconds:.0f} s")
        if name == until:
            return


class Engine:
    """One run folder and everything that can be done with it."""

    def __init__(self, root: Path, config: RunConfig | None = None) -> None:
        if config is not None and not (root / CONFIG_FILE).exists():
            preflight(config.data)
        self.run = Run.open(root, config)
        self._repairer: Repairer | None = None
        self._journal: Journal | None = None

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.run.config

    # ------------------------------------------------------------------ stages

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
            yield from Engine(following.root, self.config).compute()
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
            yield from run_ablation(
                self.run, lambda run: _computed(run, "judge"), variants, seeds, images, retrain
            )

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

    # ------------------------------------------------------------------ looking

    @property
    def training(self) -> Part:
        """The training split."""
        return open_training(self.run)

    def _ranked_by(self, by: str | None) -> RunConfig:
        """The configuration with another estimator, or a rank mean ``"a+b"``."""
        if by is None:
            return self.config
        return configuration.change(self.config, {"influence": {"estimator": by}}, "--by")

    def score(self, by: str | None = None) -> Iterator[Progress]:
        """Compute what a ranking by ``by`` needs beyond the scores that every run has."""
        run = Run(self.run.root, self._ranked_by(by))
        # To look at what is there must work while another process computes.
        if not self.status()["influence"]:
            yield from self.compute("influence")
        missing = [n for n in requested(run.config.influence) if not request_stage(run, n).done]
        if missing:
            with self.run.lock():
                for name in missing:
                    yield from run_request(run, name)

    def ranking(self, by: str | None = None) -> pd.DataFrame:
        """Score and rank of every training sample, by the run's estimator or another one."""
        return ranking(self.run, self._ranked_by(by).influence)

    def quality(self, by: str | None = None) -> dict[str, dict[str, float]]:
        """Average precision and precision at tau of each score; empty where no truth is known."""
        run = Run(self.run.root, self._ranked_by(by))
        influence = summarise(run)["influence"]
        return influence["by_signal"] if influence else {}

    def agreement(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Between the scores there are: rank correlation, and the shared part of the top tau %."""
        table = read_scores(self.run)
        names = [c for c in table.columns if c != "id"]
        return agreement(table, names, self.config.influence.tau)

    def queue(self) -> pd.DataFrame:
        """The pairs to review, most suspicious first."""
        return build_queue(self.run)

    def original(self, sample: str) -> np.ndarray:
        """The picture of a training sample, uint8 (S, S, 3)."""
        train = self.training
        return train.images([train.position(sample)])[0]

    def pictures(self, sample: str, version: str) -> tuple[np.ndarray, np.ndarray]:
        """(edit, plain reconstruction) of a version, uint8 (S, S, 3)."""
        folder = edit_folder(self.run, sample, version)
        out = []
        for name in ("edit.png", "reconstruction.png"):
            with Image.open(folder / name) as image:
                out.append(np.asarray(image.convert("RGB"), np.uint8))
        return out[0], out[1]

    def edit(self, sample: str, version: str) -> Edit:
        """The record of a version."""
        return load_edit(self.run, sample, version)

    def versions(self, sample: str) -> list[str]:
        """All versions of a sample, oldest first."""
        return versions_of(self.run, sample)

    def plots(self) -> dict[str, Any]:
        """Plotly figures of what the run has so far, by name."""
        figures = self.report()
        out: dict[str, Any] = {}
        if figures["arms"]:
            for metric in ("accuracy", "auroc", "kappa_linear", "ece"):
                out[metric] = plots.arms(figures["arms"], metric)
        if figures["classifier"]:
            chosen = checkpoint_epochs(self.run)
            out["curve"] = plots.training_curve(training_curve(self.run), chosen)
        if figures["influence"]:
            table = self.ranking()
            threshold = float(table.loc[table["high"], "score"].min())
            name = self.config.influence.estimator
            out["scores"] = plots.score_distribution(table["score"].to_numpy(), threshold, name)
            out["estimators"] = plots.estimators_agree(self.agreement()[1])
            if figures["influence"]["by_signal"]:
                out["signals"] = plots.signals(figures["influence"]["by_signal"])
        if figures["repair"]:
            out["agreement"] = plots.agreement(figures["repair"])
        return out

    # ------------------------------------------------------------------ review

    @property
    def journal(self) -> Journal:
        """The journal of decisions."""
        if self._journal is None:
            self._journal = open_journal(self.run)
        return self._journal

    def decide(
        self,
        sample: str,
        action: str,
        reviewer: str,
        version: str | None = None,
        new_label: str | None = None,
        comment: str = "",
    ) -> int:
        """Write a decision; it is on disk when this returns."""
        self.training.position(sample)
        if action == "accept":
            if version is None or version not in self.versions(sample):
                raise DiffInfError(f"There is no edit {version!r} of sample {sample!r}.")
            towards = self.edit(sample, version).label
            train = self.training
            assigned = train.sample(train.position(sample)).label
            if towards != assigned:
                raise DiffInfError(
                    f"Edit {version} of sample {sample} shows {towards!r}, its label is {assigned!r}."
                )
        return self.journal.decide(sample, action, reviewer, version, new_label, comment)

    def decisions(self) -> dict[str, Decision]:
        """The standing decision of each decided sample."""
        return self.journal.decisions()

    def undo(self, reviewer: str) -> str | None:
        """Take back the reviewer's last standing decision; its sample, or None."""
        return self.journal.undo(reviewer)

    def redo(self, reviewer: str) -> str | None:
        """Bring back what was undone last; its sample, or None."""
        return self.journal.redo(reviewer)

    def repair_one(
        self, sample: str, overrides: dict[str, Any] | None = None
    ) -> Iterator[Preview | Edit]:
        """Edit one picture with other settings; previews, then the new version.

        ``overrides`` are keys of :class:`RepairConfig`. A version that exists already comes at once.
        """
        yield from self._edit(sample, self._settings(overrides))

    def best_of(
        self, sample: str, overrides: dict[str, Any] | None = None
    ) -> Iterator[Preview | Edit]:
        """Edit one picture under a small grid of settings around these; each new version as it comes.

        The last one is the version to propose, again or for the first time: of the Pareto set of
        judge, identity and perceptual distance the one with the fewest flags.
        """
        made: list[Edit] = []
        for settings in self._loaded().variants(self._settings(overrides)):
            for event in self._edit(sample, settings):
                if isinstance(event, Edit):
                    made.append(event)
                yield event
        yield propose(made, self.training.classes)

    def _loaded(self) -> Repairer:
        if self._repairer is None:
            self._repairer = Repairer(self.run)
        return self._repairer

    def _settings(self, overrides: dict[str, Any] | None) -> RepairConfig:
        try:
            return RepairConfig(
                **{**self.config.repair.model_dump(mode="json"), **(overrides or {})}
            )
        except configuration.ValidationError as error:
            raise DiffInfError(configuration.explain(error)) from error

    def _edit(self, sample: str, settings: RepairConfig) -> Iterator[Preview | Edit]:
        repairer = self._loaded()
        position = self.training.position(sample)
        version = repairer.version(position, settings)
        if version in self.versions(sample):
            yield self.edit(sample, version)
            return
        for event in repairer.repair(np.array([position]), settings):
            if isinstance(event, Preview):
                yield event
            else:
                yield event[0]

    def export(self, target: Path, undecided: str = "original") -> Iterator[Progress]:
        """Write the refined data set."""
        return export_folder(self.run, target, undecided)


def check(config: configuration.DataConfig) -> tuple[Listing, list[Problem]]:
    """Read a data set and list everything wrong with it."""
    return check_folder(config)


def train_generator(
    out: Path | None,
    settings: dict[str, Any],
    run_root: Path | None = None,
    pictures: Path | None = None,
    size: int = 64,
    start: Path | None = None,
    width: float = 1.0,
    scenes: int = 10000,
    scene_seed: int = 20261,
    told_age: float = 0.3,
    cache: Path = Path("cache/scenes"),
) -> Iterator[Progress]:
    """Train a generator on a run's training split, on a folder of pictures, or on rendered scenes."""
    from diffinf_core.diffusion.assets import train_on_pictures, train_on_run, train_on_scenes

    if run_root is not None and pictures is not None:
        raise DiffInfError("Give a run or a folder of pictures, not both.")
    if run_root is not None:
        yield from train_on_run(Run.open(run_root), settings, out, start, width)
    elif pictures is not None:
        if out is None:
            raise DiffInfError("Give --out, the folder for the weights.")
        yield from train_on_pictures(pictures, out, settings, size, start, width)
    else:
        out = out or Path("runs/generator")
        yield from train_on_scenes(out, settings, scenes, scene_seed, cache, start, told_age, width)


def train_perceptor(
    name: str, out: Path, scenes: int, scene_seed: int, cache: Path
) -> Iterator[Progress]:
    """Train one of the small shipped networks."""
    from diffinf_core.correction.assets import train_asset

    yield from train_asset(name, out, scenes, scene_seed, cache)


def convert_generator(source: Path, target: Path, architecture: str | None) -> str:
    """Turn a published checkpoint into safetensors with a card; returns what it is."""
    from diffinf_core.diffusion.loading import convert

    found = convert(source, target, architecture)
    return f"{found.image_size} pixels, z_sem of {found.z_dim}"
