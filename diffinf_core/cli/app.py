"""The command line: one verb per stage."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from diffinf_core.cli.benchmark import benchmark
from diffinf_core.cli.benchmark_cifar import benchmark_cifar
from diffinf_core.cli.check import check
from diffinf_core.cli.console import (
    console,
    one_sentence,
    print_ablation,
    print_arms,
    print_report,
    print_rounds,
    print_subgroups,
    watch,
)
from diffinf_core.cli.distributed import distributed
from diffinf_core.cli.doctor import doctor
from diffinf_core.cli.export import audit, export, verify
from diffinf_core.cli.opening import (
    RunFolder,
    Settings,
    WithoutDecisions,
    open_folder,
    with_settings,
)
from diffinf_core.cli.rank import rank
from diffinf_core.cli.serve import review, serve_run
from diffinf_core.cli.settings import (
    ConfigFile,
    DropSmall,
    FileColumn,
    LabelColumn,
    Preset,
    SkipBad,
    SplitColumn,
    new_config,
    source_settings,
    with_options,
)
from diffinf_core.cli.streams import write_anything
from diffinf_core.cli.train import train_generator, train_perceptor
from diffinf_core.cli.users import users
from diffinf_core.cli.weights import weights
from diffinf_core.config import (
    PRESETS,
    described_yaml,
    make_config,
    parse_overrides,
    values_of,
)
from diffinf_core.records import DiffInfError

app = typer.Typer(
    name="diffinf",
    help="Find the training pictures whose labels disturb a classifier, and repair the pictures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
@distributed
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo"),
    app_: Annotated[bool, typer.Option("--app/--no-app", help="Open the review app.")] = True,
    retrain_: Annotated[
        bool, typer.Option("--retrain/--no-retrain", help="Also retrain and compare the arms.")
    ] = True,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the app.")] = 7860,
    settings: Settings = None,
) -> None:
    """Run everything on embedded rendered faces: rank, repair, then review in the app.

    With the app, retraining waits for you on the Compare page; headless, it runs at once.
    """
    opened = open_folder(out, new_config("demo", None, settings))
    watch(opened.compute())
    if app_:
        serve_run(out, port)
        return
    if retrain_:
        watch(opened.retrain())
    console.print(f"Done. 'diffinf report {out}' prints the figures.", markup=False)


@app.command()
@distributed
def run(
    data: Annotated[
        str | None,
        typer.Argument(
            help="Folder with pictures and labels.csv (file, label), or class folders; KIND:PATH says which "
            "kind of data set it is, e.g. hf:FOLDER."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/run"),
    preset: Preset = "demo",
    config: ConfigFile = None,
    until: Annotated[
        str,
        typer.Option(help="Last stage: data, classifier, influence, predictor, judge or repair."),
    ] = "repair",
    rounds: Annotated[
        int,
        typer.Option(min=1, help="Repair, train and rank again on the refined set, this often."),
    ] = 1,
    skip_bad: SkipBad = False,
    drop_small: DropSmall = False,
    file_column: FileColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that an edit keeps where the run trains a generator, as generator.covariates. "
            "Repeatable."
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="Folder of further pictures of the same kind, without labels, from which a generator that "
            "the run trains learns to draw, as generator.unlabelled."
        ),
    ] = None,
    without_decisions: WithoutDecisions = False,
    settings: Settings = None,
) -> None:
    """Train, rank and repair. Finished work is kept: the same command again does nothing."""
    _known_stage(until)
    options = {
        "data.skip_bad": skip_bad,
        "split.small_classes": "drop" if drop_small else None,
        "data.file_column": file_column,
        "data.label_column": label_column,
        "data.split_column": split_column,
        "generator.covariates": covariate or None,
        "generator.unlabelled": None if unlabelled is None else str(unlabelled),
    }
    settings = with_options(settings, options)
    source = source_settings(data) if data is not None else {}
    if data is None and (out / "config.yaml").exists() and config is None and preset == "demo":
        opened = with_settings(out, settings, without_decisions)
    else:
        opened = open_folder(out, new_config(preset, config, settings, **source), without_decisions)
    for remark in opened.remarks:
        console.print(remark, markup=False, highlight=False)
    if changed := opened.source.changes():
        console.print(
            f"The data set has changed: {changed}. What depends on it is computed again; what was computed "
            "before is kept and used again once the files are restored.",
            markup=False,
            highlight=False,
        )
        watch(opened.source.update())
    rate = opened.config.noise.rate
    if opened.config.data.source == "folder" and rate:
        console.print(
            f"noise.rate={rate:g}: {rate:.0%} of the training labels are made wrong on purpose and "
            "stay so in an export; noise.rate=0 takes the labels as they come.",
            markup=False,
        )
    if rounds > 1:
        if until != "repair":
            raise DiffInfError("--rounds needs the whole chain; leave --until out.")
        watch(opened.rounds(rounds))
        print_rounds(opened.compare.rounds())
        return
    watch(opened.compute(until))
    if until == "repair":
        console.print(f"Done. 'diffinf review {out}' opens the app on it.", markup=False)
    else:
        console.print(f"Done up to {until}; nothing is repaired yet.", markup=False)


def _known_stage(name: str) -> None:
    from diffinf_core.engine import STAGES

    if name not in STAGES:
        raise DiffInfError(f"Unknown stage {name!r}; choose one of {', '.join(STAGES)}.")


app.command()(distributed(rank))


@app.command()
@distributed
def repair(run: RunFolder, settings: Settings = None) -> None:
    """Repair the high-influence set, e.g. with other weights: --set repair.w_id=2."""
    opened = with_settings(run, settings)
    watch(opened.compute("repair"))


app.command()(distributed(review))
app.command()(distributed(benchmark))
app.command("benchmark-cifar")(benchmark_cifar)


app.command()(export)
app.command()(verify)
app.command()(audit)


@app.command()
@distributed
def retrain(
    run: RunFolder,
    workers: Annotated[int | None, typer.Option(min=1, help="Jobs at once.")] = None,
    without_decisions: WithoutDecisions = False,
    settings: Settings = None,
) -> None:
    """Retrain every arm from scratch over seeds and compare them on the clean test split."""
    opened = with_settings(run, settings, without_decisions)
    watch(opened.retrain(workers))
    print_arms(opened.report()["arms"])


@app.command()
@distributed
def ablate(
    run: RunFolder,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting and its values, e.g. repair.guidance=1,1.6,2.5. Repeatable: every "
            "combination is tried. Default: a plan that takes the repair apart."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Repetitions with other wrong labels and other weights.")
    ] = 1,
    images: Annotated[int, typer.Option(min=1, help="High-influence pictures per cell.")] = 48,
    retrain_: Annotated[
        bool, typer.Option("--retrain/--no-retrain", help="Also retrain arms; slow.")
    ] = False,
    settings: Settings = None,
) -> None:
    """Edit the same pictures under other settings and compare; a stopped one goes on where it was."""
    chosen: dict[str, list[Any]] = {}
    for key, text in map(_named_values, vary or []):
        chosen.setdefault(key, []).extend(values_of(text))
    opened = with_settings(run, settings)
    watch(opened.ablation.run(chosen or None, seeds, images, retrain_))
    print_ablation(opened.ablation.in_words())
    console.print(f"Table and plot: {run / 'ablation'}", markup=False)


def _named_values(text: str) -> tuple[str, str]:
    key, sign, values = text.partition("=")
    if not sign or key.count(".") != 1:
        raise DiffInfError(
            f"Cannot read {text!r}; write stage.key=value,value, e.g. repair.guidance=1,2."
        )
    return key.strip(), values


@app.command()
def report(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the comparison of arms as one page to this file.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write every figure of it, with intervals, as a table.")
    ] = None,
) -> None:
    """Print what a run measured."""
    opened = open_folder(run)
    if html is not None or csv is not None:
        opened.compare.write(html, csv)
    elif as_json:
        print(json.dumps(opened.report(), indent=2))
    else:
        print_report(opened.report())
        print_subgroups(opened.compare.audit_in_words())


app.command()(check)
app.command()(doctor)
app.add_typer(weights, name="weights")
app.add_typer(users, name="users")
app.command("train-generator")(train_generator)


@app.command("train-classifier")
def train_classifier(run: RunFolder, settings: Settings = None) -> None:
    """Train the classifier of a run on its noisy labels."""
    opened = with_settings(run, settings)
    watch(opened.compute("classifier"))


app.command("train-perceptor")(train_perceptor)


@app.command("config")
def show_config(
    preset: Preset = "demo",
    settings: Settings = None,
) -> None:
    """Print a preset as YAML with the meaning of every setting, for 'diffinf run --config'."""
    over = parse_overrides(settings or [])
    if PRESETS.get(preset, {}).get("data", {}).get("source") == "folder":
        over.setdefault("data", {}).setdefault("path", "FOLDER")
    print(described_yaml(make_config(preset, over)))


def main() -> None:
    """Entry point of ``diffinf``."""
    # One thread per process: the work is parallel over jobs, and two contended threads are slower
    # than one. It is read when torch is loaded, which is not yet.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    write_anything()
    with one_sentence():
        app()
