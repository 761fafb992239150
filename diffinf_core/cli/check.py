"""The command line's verb that reads a data set before anything is trained on it."""

from __future__ import annotations

from typing import Annotated

import typer

from diffinf_core.config import make_config
from diffinf_core.records import DiffInfError


def check(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder with pictures and labels, or KIND:PATH, e.g. hf:FOLDER.", metavar="DATA"
        ),
    ],
    labels: Annotated[str, typer.Option(help="Table in the folder.")] = "labels.csv",
    label_column: Annotated[str, typer.Option(help="Column of the class.")] = "label",
    file_column: Annotated[str | None, typer.Option(help="Column of the file name.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column of train, val and test.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Column kept together.")] = None,
    classes: Annotated[str | None, typer.Option(help="Allowed classes, comma-separated.")] = None,
) -> None:
    """Read a data set and name each bad row; exit code 2 if there is one."""
    from diffinf_core.engine import check as check_data
    from diffinf_core.engine import named_source

    given = {
        "labels": labels,
        "label_column": label_column,
        "file_column": file_column,
        "split_column": split_column,
        "group_column": group_column,
        "classes": classes.split(",") if classes else None,
    }
    listing, problems = check_data(make_config("demo", {"data": named_source(data) | given}).data)
    typer.echo(f"Taken for {listing.taken_for}.")
    counts: dict[str, int] = {}
    for row in listing.rows:
        counts[row.label] = counts.get(row.label, 0) + 1
    typer.echo(f"{len(listing.rows)} usable pictures, {listing.unlabelled} without a label.")
    for name in listing.classes:
        typer.echo(f"  {name}: {counts.get(name, 0)}")
    for remark in listing.remarks:
        typer.echo(remark)
    for problem in problems:
        typer.echo(f"bad: {problem}")
    if problems:
        raise DiffInfError(f"{data} has {len(problems)} problem(s), listed above.")
    if listing.lost:
        typer.echo("No bad rows, but pictures were left out; see above.")
    else:
        typer.echo("No problems found.")
