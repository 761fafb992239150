"""Opening runs, for every verb: an outdated one is named, and settings of ``--set`` are taken over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diffinf_core.cli.console import console
from diffinf_core.cli.settings import with_full_paths
from diffinf_core.config import RunConfig, change, parse_overrides

RunFolder = Annotated[Path, typer.Argument(help="Folder of the run.", metavar="RUN")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change one setting for good, e.g. --set influence.tau=20; null takes it back. Repeatable.",
    ),
]
WithoutDecisions = Annotated[
    bool,
    typer.Option(
        "--without-decisions",
        help="Go on as if nobody had decided, also where the journal of a reviewed run is lost.",
    ),
]


def open_folder(run: Path, config: RunConfig | None = None, without_decisions: bool = False) -> Any:
    """Open a run; one sentence goes to the terminal where another version computed it."""
    from diffinf_core.engine import open_run

    opened = open_run(run, config, without_decisions)
    if sentence := opened.outdated():
        console.print(sentence, markup=False, highlight=False)
    return opened


def with_settings(run: Path, settings: list[str] | None, without_decisions: bool = False) -> Any:
    """Open an existing run and take over changed settings."""
    from diffinf_core.engine import existing_weights, open_run

    if not settings:
        return open_folder(run, None, without_decisions)
    opened = open_run(run)  # what is to be said of it is said once, with its settings
    config = change(opened.config, with_full_paths(parse_overrides(settings)))
    if config.repair.generator is not None:
        existing_weights(config.repair.generator)  # or a refusal, before the settings are saved
    return open_folder(run, config, without_decisions)
