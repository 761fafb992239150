"""Tags on training samples and saved views: who tags, what stands, and which samples a name means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from diffinf_core.engine.tables import Tables
from diffinf_core.records import DiffInfError
from diffinf_core.review.tags import SavedView, Tagged
from diffinf_core.review.tags import Tags as StoredTags
from diffinf_core.runs.files import digest


class Tags:
    """Free tags on samples, and views under a name, shared by everybody who reviews the run."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def _stored(self) -> StoredTags:
        journal = self._tables.journal
        return self._tables.cache.get("tags", str(id(journal)), lambda: StoredTags(journal))

    def standing(self) -> Tagged:
        """The tags that stand now, with the samples of each."""
        return self._stored.standing()

    def key(self) -> str:
        """Changes with every tag."""
        return digest(self.standing().seq)

    def of(self, samples: Iterable[str]) -> list[list[str]]:
        """The tags of each sample."""
        return self.standing().of(samples)

    def counts(self) -> dict[str, int]:
        """How many samples have each tag, in the order of the tags' names."""
        return {tag: len(own) for tag, own in self.standing().samples.items()}

    def put(self, samples: Iterable[str], tag: str, reviewer: str, present: bool = True) -> int:
        """Tag samples, or with ``present`` False take the tag off them; how many it changes.

        It is on disk when this returns. Raises :class:`DiffInfError` for what is no training sample.
        """
        chosen = list(dict.fromkeys(samples))
        unknown = next((s for s in chosen if s not in self._tables.assigned), None)
        if unknown is not None:
            raise DiffInfError(f"There is no training sample {unknown!r} in this run.")
        return self._stored.put(chosen, tag, reviewer, present)

    def views(self) -> dict[str, SavedView]:
        """The saved views by name."""
        return self._stored.views()

    def save_view(self, name: str, definition: Mapping[str, Any], reviewer: str) -> str:
        """Save a view, in the place of an own one of that name; the name as it is kept."""
        return self._stored.save_view(name, definition, reviewer)

    def remove_view(self, name: str, reviewer: str) -> None:
        """Remove an own view."""
        self._stored.remove_view(name, reviewer)
