"""The small ranked run of the influence tests."""

from __future__ import annotations

from tests.influence.conftest import copy, ranked

__all__ = ["copy", "ranked"]
