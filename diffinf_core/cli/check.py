"""The command line's verb that reads a data set before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffinf_core.cli.console import console, watch
from diffinf_core.cli.opening import Settings
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
from diffinf_core.records import DiffInfError

if TYPE_CHECKING:
    from diffinf_core.engine import Checked


def check(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder with pictures and labels, or KIND:PATH, e.g. hf:FOLDER.", metavar="DATA"
        ),
    ],
    report: Annotated[
        Path | None, typer.Option(help="Write everything found, with pictures, as one page.")
    ] = None,
    preset: Preset = "demo",
    config: ConfigFile = None,
    labels: Annotated[str | None, typer.Option(help="Table in the folder.")] = None,
    label_column: LabelColumn = None,
    file_column: FileColumn = None,
    split_column: SplitColumn = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column kept together, as data.group_column.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Allowed classes, comma-separated.")] = None,
    skip_bad: SkipBad = False,
    drop_small: DropSmall = False,
    settings: Settings = None,
) -> None:
    """Read a data set as 'run' would and say what is in it; exit code 2 where a run would refuse it."""
    from diffinf_core.engine import check as check_data
    from diffinf_core.engine import write_check

    options = {
        "data.labels": labels,
        "data.label_column": label_column,
        "data.file_column": file_column,
        "data.split_column": split_column,
        "data.group_column": group_column,
        "data.classes": classes.split(",") if classes else None,
        "data.skip_bad": skip_bad,
        "split.small_classes": "drop" if drop_small else None,
    }
    wanted = new_config(preset, config, with_options(settings, options), **source_settings(data))
    job = check_data(wanted)
    watch(job)
    checked = job.result()
    _print(checked)
    if report is not None:
        write_check(checked, report)
        console.print(f"Report: {report}", markup=False)
    if n := len(checked.problems):
        raise DiffInfError(f"{data} has {n:,} problem{'' if n == 1 else 's'}, listed above.")


def _print(checked: Checked) -> None:
    listing = checked.listing
    print(f"Taken for {listing.taken_for}.")
    print(f"{checked.readable} usable pictures, {listing.unlabelled} without a label.")
    for name, parts in checked.classes.items():
        split = ", ".join(f"{n:,} {part or 'left out'}" for part, n in parts.items() if n)
        print(f"  {name}: {sum(parts.values())}" + (f" ({split})" if split else ""))
    for finding in checked.findings:
        if finding.level == "refused" and not finding.count:
            continue  # it is among the problems
        count = f": {finding.count:,}" if finding.count else ""
        print(f"{finding.title.rstrip('.')}{count}. {finding.action}".rstrip())
    for problem in checked.problems:
        print(f"bad: {problem}")
    if checked.problems:
        return
    warned = any(finding.level == "warning" for finding in checked.findings)
    print("A run can begin; see above." if warned else "No problems found.")
