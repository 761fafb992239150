"""Checking a data set before there is a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from diffinf_core.config import RunConfig
from diffinf_core.data.check import Checked, check_data_set
from diffinf_core.records import Job, Progress
from diffinf_core.report.check import check_page
from diffinf_core.runs.files import write_text


def check(
    config: RunConfig, callback: Callable[[Progress], object] | None = None
) -> Job[Progress, Checked]:
    """Read a data set as a run under ``config`` would; the result is everything found, nothing is written."""
    return Job(check_data_set(config), callback)


def write_check(checked: Checked, path: Path) -> None:
    """Write a check as one page that holds its pictures and fetches nothing."""
    write_text(path, check_page(checked))
