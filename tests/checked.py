"""A check driven to its end."""

from __future__ import annotations

from typing import Any

from diffinf_core.config import DataConfig, preset_for
from diffinf_core.data.check import Checked, check_data_set
from diffinf_core.data.folder import Listing, Problem
from diffinf_core.records import Job


def checked(data: DataConfig, **over: dict[str, Any]) -> Checked:
    """The check of a data set under the settings of a new run."""
    given = data.model_dump(mode="json", exclude_defaults=True)
    return Job(check_data_set(preset_for("demo", {"data": given, **over}))).result()


def problems_of(data: DataConfig) -> tuple[Listing, list[Problem]]:
    """The listing of a data set, and what a run would refuse."""
    result = checked(data)
    return result.listing, list(result.problems)
