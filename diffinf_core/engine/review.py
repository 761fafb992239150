"""Everything that can be done with a run: editing single pictures, and the export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from diffinf_core.config import RepairConfig, RunConfig, explain
from diffinf_core.correction.editing import Preview
from diffinf_core.correction.repairer import Repairer
from diffinf_core.correction.search import propose
from diffinf_core.engine.compare import Comparing
from diffinf_core.engine.describe import Describing
from diffinf_core.engine.explore import Exploring
from diffinf_core.export.folder import export_folder
from diffinf_core.records import DiffInfError, Edit, Progress


class Engine(Exploring, Comparing, Describing):
    """One run folder and everything that can be done with it."""

    def __init__(self, root: Path, config: RunConfig | None = None) -> None:
        super().__init__(root, config)
        self._repairer: Repairer | None = None

    def repair_one(
        self, sample: str, overrides: dict[str, Any] | None = None
    ) -> Iterator[Preview | Edit]:
        """Edit one picture with other settings; previews, then the new version.

        ``overrides`` are keys of :class:`RepairConfig`. A version that exists already comes at once.
        """
        yield from self._edit(sample, self._settings(overrides))

    def best_of(
        self, sample: str, overrides: dict[str, Any] | None = None
    ) -> Iterator[Preview | Edit]:
        """Edit one picture under a small grid of settings around these; each new version as it comes.

        The last one is the version to propose, again or for the first time: of the Pareto set of
        judge, identity and perceptual distance the one with the fewest flags.
        """
        made: list[Edit] = []
        for settings in self._loaded().variants(self._settings(overrides)):
            for event in self._edit(sample, settings):
                if isinstance(event, Edit):
                    made.append(event)
                yield event
        yield propose(made, self.training.classes)

    def _loaded(self) -> Repairer:
        if self._repairer is None:
            self._repairer = Repairer(self.run)
        return self._repairer

    def _settings(self, overrides: dict[str, Any] | None) -> RepairConfig:
        try:
            return RepairConfig(
                **{**self.config.repair.model_dump(mode="json"), **(overrides or {})}
            )
        except ValidationError as error:
            raise DiffInfError(explain(error)) from error

    def _edit(self, sample: str, settings: RepairConfig) -> Iterator[Preview | Edit]:
        repairer = self._loaded()
        position = self.training.position(sample)
        version = repairer.version(position, settings)
        if version in self.versions(sample):
            yield self.edit(sample, version)
            return
        for event in repairer.repair(np.array([position]), settings):
            if isinstance(event, Preview):
                yield event
            else:
                yield event[0]

    def export(self, target: Path, undecided: str = "original") -> Iterator[Progress]:
        """Write the refined data set."""
        return export_folder(self.run, target, undecided)
