"""UTKFace: age, gender and race in the name of each picture.

``[age]_[gender]_[race]_[date].jpg``, https://susanqq.github.io/UTKFace: gender 0 is male; race is White,
Black, Asian, Indian or Other.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing
from diffinf_core.data.kinds import is_candidate
from diffinf_core.data.rows import Row
from diffinf_core.data.sources.ages import AGE_CLASSES, age_class
from diffinf_core.data.sources.base import Source
from diffinf_core.records import DiffInfError

_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_(\d{8,})")
GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "Other")
#: names that are looked at to recognise the data set
_FIRST = 50


def _first_names(root: Path) -> Iterator[str]:
    """Names of pictures as they come from the disk, without a walk over everything."""
    for home, _, names in os.walk(root):
        yield from (n for n in names if is_candidate(f"{home}/{n}"))


class UTKFace(Source):
    """Pictures named by age, gender and race; ``data.label_column`` is label (age class), gender or race."""

    name = "utkface"
    about = "UTKFace: names such as 26_1_2_20170116184024662.jpg"

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """A folder nine in ten of whose first pictures are named so."""
        if config.path is None or not config.path.is_dir():
            return False
        names = list(islice(_first_names(config.path), _FIRST))
        return bool(names) and sum(bool(_NAME.match(n)) for n in names) >= 0.9 * len(names)

    def read(self) -> Listing:
        """See :meth:`Source.read`."""
        contents, column = self.walk(), self.config.label_column
        orders = {"label": AGE_CLASSES, "gender": GENDERS, "race": RACES}
        if column not in orders:
            raise DiffInfError(
                f"UTKFace has no column {column!r}; data.label_column may be label (the age class), "
                "gender or race."
            )
        rows: list[Row] = []
        left_out = Counter[str]()
        for name in contents.pictures:
            match = _NAME.match(name.rpartition("/")[2])
            if match is None:
                left_out["are not named as in UTKFace (age_gender_race_date)"] += 1
                continue
            age, gender, race, date = match.groups()
            given = {
                "age": age,
                "gender": GENDERS[int(gender)],
                "race": RACES[int(race)],
                "date": date,
            }
            label = age_class(int(age), self.config.ages) if column == "label" else given[column]
            if label is None:
                left_out["are of an age that no class holds"] += 1
            elif self.config.classes and label not in self.config.classes:
                left_out[f"are {label}, which data.classes does not name,"] += 1
            else:
                rows.append(Row(name, label, {k: v for k, v in given.items() if k != column}))
        remarks = tuple(
            f"{n:,} pictures {why} and are left out." for why, n in sorted(left_out.items())
        )
        what = f"age class, reading {self.config.ages}" if column == "label" else column
        taken_for = f"UTKFace names, {what}"
        return self.listing(rows, [], 0, taken_for, contents, remarks, orders[column])
