"""Editing one picture again, with other settings than the run's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import ValidationError

from diffinf_core.config import RepairConfig, explain
from diffinf_core.correction.editing import Preview
from diffinf_core.correction.edits import versions_of
from diffinf_core.correction.repairer import Repairer, find_generator
from diffinf_core.correction.search import propose
from diffinf_core.correction.usual import flagged, load_flagged, usual_of
from diffinf_core.diffusion.loading import keeps_covariates
from diffinf_core.engine.tables import Tables
from diffinf_core.records import DiffInfError, Edit


class Repair:
    """Makes versions of a sample's edit; the networks are loaded with the first one and kept."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def edit(
        self, sample: str, overrides: Mapping[str, Any] | None = None
    ) -> Iterator[Preview | Edit]:
        """Edit one picture with other settings; previews, then the new version.

        ``overrides`` are keys of :class:`RepairConfig`. A version that exists already comes at once.
        """
        yield from self._edit(sample, self._settings(overrides))

    def best_of(
        self, sample: str, overrides: Mapping[str, Any] | None = None
    ) -> Iterator[Preview | Edit]:
        """Edit one picture under a small grid of settings around these; each new version as it comes.

        The last one is the version to propose, again or for the first time: of the Pareto set of
        judge, identity and perceptual distance the one with the fewest flags.
        """
        made: list[Edit] = []
        for settings in self._repairer.variants(self._settings(overrides)):
            for event in self._edit(sample, settings):
                if isinstance(event, Edit):
                    made.append(event)
                yield event
        yield propose(made, self._tables.training.classes)

    def tries(self, overrides: Mapping[str, Any] | None = None) -> int:
        """How many settings :meth:`best_of` tries."""
        return len(self._repairer.variants(self._settings(overrides)))

    @property
    def keeps_covariates(self) -> bool:
        """Whether edits can be guided towards covariates; False while there is no generator."""
        found = find_generator(self._tables.folder)
        return found is not None and keeps_covariates(found)

    @cached_property
    def _repairer(self) -> Repairer:
        return Repairer(self._tables.folder)

    def _settings(self, overrides: Mapping[str, Any] | None) -> RepairConfig:
        usual = self._tables.folder.config.repair.model_dump(mode="json")
        try:
            return RepairConfig(**{**usual, **(overrides or {})})
        except ValidationError as error:
            raise DiffInfError(explain(error)) from error

    def _edit(self, sample: str, settings: RepairConfig) -> Iterator[Preview | Edit]:
        folder, position = self._tables.folder, self._tables.training.position(sample)
        version = self._repairer.version(position, settings)
        if version in versions_of(folder, sample):
            yield load_flagged(folder, sample, version)
            return
        for event in self._repairer.repair(np.array([position]), settings):
            yield event if isinstance(event, Preview) else flagged(event[0], usual_of(folder))
