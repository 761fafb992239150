"""What every section of a configuration has: validation, and the provenance of what it made."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: limits beyond any sensible training: more is a typing error, which is better named than begun
MOST_EPOCHS, MOST_BATCH = 100_000, 65_536


class Section(BaseModel):
    """Base of the sections of a configuration, one per stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def provenance(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """What a result under these settings is known by: the settings as JSON, but for ``exclude``.

        A setting that a later version added (:func:`later`) and that has its default counts as not there:
        it changes nothing, and runs from before it keep their keys.
        """
        usual = {
            name
            for name, field in type(self).model_fields.items()
            if field.json_schema_extra == _LATER and getattr(self, name) == field.default
        }
        out = self.model_dump(mode="json", exclude={*usual, *exclude})
        inner = {name: getattr(self, name) for name in out}
        return out | {n: v.provenance() for n, v in inner.items() if isinstance(v, Section)}


_LATER: dict[str, Any] = {"later": True}


def later(default: Any, **how: Any) -> Any:
    """A pydantic field that was added to a section after runs had been made without it."""
    return Field(default, json_schema_extra=_LATER, **how)
