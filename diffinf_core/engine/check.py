"""Checking a data set before there is a run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

from diffinf_core.config import RunConfig
from diffinf_core.data.check import Checked, Finding, check_data_set
from diffinf_core.engine.own_generator import shortfall
from diffinf_core.records import Job, Progress
from diffinf_core.report.check import check_page
from diffinf_core.runs.files import write_text


def check(
    config: RunConfig, callback: Callable[[Progress], object] | None = None
) -> Job[Progress, Checked]:
    """Read a data set as a run under ``config`` would; the result is everything found, nothing is written."""
    return Job(_checked(config), callback)


def _checked(config: RunConfig) -> Generator[Progress, None, Checked]:
    """The check, with a warning where a run would not get as far as the repair for want of a generator."""
    checked = yield from check_data_set(config)
    if (reason := shortfall(config)) is None:
        return checked
    action = "A run with --until judge can do without."
    warning = Finding(
        "No generator can be trained for the repair", 0, "warning", f"{reason} {action}"
    )
    return replace(checked, findings=[warning, *checked.findings])


def write_check(checked: Checked, path: Path) -> None:
    """Write a check as one page that holds its pictures and fetches nothing."""
    write_text(path, check_page(checked))
