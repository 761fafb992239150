"""The command line's verb that verifies a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffinf_core.cli.console import console, watch
from diffinf_core.records import DiffInfError


def doctor(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", metavar="RUN")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Compute again what is damaged and can be.")
    ] = False,
) -> None:
    """Verify every file of a run by size and digest; exit code 2 where something is wrong."""
    from diffinf_core.engine import counted, diagnose, mend

    found = diagnose(run)
    for finding in found.findings:
        print(("can be repaired: " if finding.mendable else "cannot be: ") + finding.text)
    if repair and found.findings:
        job = mend(run)
        watch(job)
        found = job.result()
        for finding in found.findings:
            print(f"still there: {finding.text}")
    console.print(counted(found), markup=False, highlight=False)
    if found.findings:
        raise DiffInfError(f"{run} has {len(found.findings)} problem(s), listed above.")
