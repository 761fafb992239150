"""Age classes: both readings of the paper's Young, Middle and Old."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: the classes in their order
AGE_CLASSES = ("Young", "Middle", "Old")
#: first and last whole year of each class. A: Old is 50 and above, 19 to 24 and 41 to 49 are left out. B:
#: what is left out is exactly 19 to 24 and 51 to 59, as the paper's one sentence about it says.
READINGS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "A": ((0, 18), (25, 40), (50, 200)),
    "B": ((0, 18), (25, 50), (60, 200)),
}


def age_class(age: float, reading: str) -> str | None:
    """The class of an age in years, counted in whole ones; None for an age that no class holds."""
    years = math.floor(age)
    for name, (first, last) in zip(AGE_CLASSES, READINGS[reading], strict=True):
        if first <= years <= last:
            return name
    return None
