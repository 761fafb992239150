"""``diffinf rank``: the most suspicious samples, and how precise the ranking is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from diffinf_core.cli.console import print_agreement, print_precision, print_quality, watch
from diffinf_core.cli.opening import RunFolder, Settings, with_settings
from diffinf_core.config import AUTO, ON_REQUEST, SIGNALS


def rank(
    run: RunFolder,
    by: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(SIGNALS)}; computed when asked for: {', '.join(ON_REQUEST)}; "
            f"several joined by + rank by their mean rank; {AUTO}: what ranks planted errors best."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 20,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Print how far the scores agree instead.")
    ] = False,
    planted: Annotated[
        bool,
        typer.Option(
            "--planted", help="Train once more with some labels made wrong, to estimate precision."
        ),
    ] = False,
    precision: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Print the tau that holds it; after --planted."),
    ] = None,
    settings: Settings = None,
) -> None:
    """Print the most suspicious training samples."""
    opened = with_settings(run, settings)
    watch(opened.score(by))
    if planted:
        watch(opened.plant())
    opened.folder.save()  # also where nothing had to be computed for the settings
    if agreement:
        print_agreement(opened)
        return
    table = opened.ranking(by).sort_values("rank").head(top)
    train = opened.training
    name = opened.explore.scores.used(by)
    auto = AUTO in (by, opened.config.influence.estimator) and by in (None, AUTO)
    title = f"{name}, which ranks planted errors best" if auto else name
    out = Table("rank", "score", "id", "file", "label", title=title)
    for row in table.itertuples():
        sample = train.sample(train.position(row.id))
        out.add_row(
            str(row.rank), f"{row.score:.4g}", sample.id, escape(sample.file), escape(sample.label)
        )
    Console().print(out)
    found = opened.explore.scores.quality(by)
    if found:
        print_quality(found, opened.config.influence.tau)
    print_precision(opened.explore.scores.precision(by))
    if precision is not None:
        Console().print(opened.explore.scores.tau_for(precision, by), markup=False)
