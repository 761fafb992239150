"""The command line's verbs about exports: write one, verify one, and look for shortcuts before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from diffinf_core.cli.console import console, watch
from diffinf_core.cli.opening import RunFolder, WithoutDecisions, open_folder
from diffinf_core.records import DiffInfError

Undecided = Annotated[
    str,
    typer.Option(
        help="Edited samples that nobody decided on: keep the 'original', take the edit ('repaired'), "
        "or take it where it has no flag ('unflagged')."
    ),
]


def export(
    run: RunFolder,
    target: Annotated[
        Path | None, typer.Argument(help="New folder for the data set.", metavar="TARGET")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The same as TARGET.")] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, parquet, imagefolder, huggingface, fiftyone, coco, cleanlab, or patch (only what "
            "changed).",
        ),
    ] = "csv",
    splits: Annotated[
        str, typer.Option(help="'train', the split that was reviewed, or 'all'.")
    ] = "train",
    like_original: Annotated[
        bool,
        typer.Option(
            "--like-original", help="Encode edits again as the original was; else lossless."
        ),
    ] = False,
    working_size: Annotated[
        bool,
        typer.Option("--working-size", help="Write edits as small as they were made."),
    ] = False,
    tag: Annotated[str | None, typer.Option(help="Only the samples that have this tag.")] = None,
    view: Annotated[str | None, typer.Option(help="Only what this saved view shows.")] = None,
    undecided: Undecided = "original",
    audit_: Annotated[
        bool, typer.Option("--audit/--no-audit", help="Look for shortcuts before.")
    ] = True,
    comments: Annotated[
        bool, typer.Option("--comments", help="Write reviewers' comments into the manifest.")
    ] = False,
    without_decisions: WithoutDecisions = False,
) -> None:
    """Write the refined data set with a manifest of hashes and lineage."""
    if (target is None) == (out is None):
        raise DiffInfError("Give the new folder once, as TARGET or with --out.")
    if like_original and working_size:
        raise DiffInfError("--like-original and --working-size exclude each other.")
    edits = "like-original" if like_original else "working" if working_size else "full"
    job = open_folder(run, without_decisions=without_decisions).export(
        target or out,
        undecided,
        tag=tag,
        view=view,
        format=format_,
        splits=splits,
        edits=edits,
        audit=audit_,
        comments=comments,
    )
    watch(job)
    manifest = job.result().manifest
    for warning in (manifest["audit"] or {}).get("warnings", []):
        console.print(f"Warning: {warning}", markup=False, highlight=False)
    counts = {"changed": manifest["n"]} if format_ == "patch" else manifest["counts"]["splits"]
    written = "; ".join(f"{name} {n}" for name, n in counts.items())
    left = "" if splits == "all" else ". Validation and test pictures are not part of it"
    console.print(
        f"Wrote {target or out}: {written} pictures, {len(manifest['dropped'])} dropped{left}.",
        markup=False,
    )
    missing = ", ".join(f"{n} {kind}" for kind, n in manifest["counts"]["skipped"].items() if n)
    if missing:
        console.print(
            f"Not part of it, as they were skipped before the run: bad {missing}.", markup=False
        )


def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of an export.", metavar="EXPORT")],
) -> None:
    """Recompute every hash of an export, and compare its size with what the review left."""
    from diffinf_core.engine import read_export

    found = read_export(folder)
    found.verify()
    manifest = found.manifest
    kept = manifest.get("n_train", manifest["n"])
    print(
        f"{folder} is as it was exported: {manifest['n']} pictures; "
        f"{manifest['n_original']} training samples less {len(manifest['dropped'])} dropped are {kept}."
    )


def audit(
    run: RunFolder,
    undecided: Undecided = "original",
    edits: Annotated[
        str | None, typer.Option(help="full, like-original or working; default: each.")
    ] = None,
) -> None:
    """Look for shortcuts: are edits recognisable by anything but what they show?"""
    opened = open_folder(run)
    job = opened.refined.audit(undecided, edits)
    watch(job)
    print_audit(job.result())


def print_audit(found: dict[str, Any] | None) -> None:
    """The audit's figures in each form of edits, and its warnings."""
    if not found:
        return
    table = Table(
        "edits", "told by", "AUROC", "95 %", "their originals", "most by",
        title="shortcut audit", title_justify="left",
    )  # fmt: skip
    warnings: list[str] = []
    for name, form in found["forms"].items():
        for kind in ("by_file", "by_pixels"):
            now, before = form[kind], form[f"{kind}_before"]
            cells = ["-"] * 4
            if now is not None:
                cells = [
                    f"{now['auroc']:.3f}", f"{now['low']:.3f} to {now['high']:.3f}",
                    f"{before['auroc']:.3f}", now["strongest"],
                ]  # fmt: skip
            table.add_row(name, kind.removeprefix("by_"), *cells)
        warnings += [f"{name}: {warning}" for warning in form["warnings"]]
    Console().print(table)
    for warning in warnings:
        console.print(warning, markup=False, highlight=False)
