"""What all pages share: the engine of the opened run, its jobs, and the queue kept in memory."""

from __future__ import annotations

import threading
from pathlib import Path

import pandas as pd

from diffinf_core.config import change
from diffinf_core.engine import Engine
from diffinf_core.records import DiffInfError
from diffinf_core.store import Run
from diffinf_core.ui.jobs import Jobs


class Session:
    """One opened run. Holds nothing that is not on disk too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = Engine(root)
        self.jobs = Jobs()
        self.edit_lane = threading.Lock()
        self._queue: pd.DataFrame | None = None
        self._stamp = ""

    def reload(self) -> None:
        """Open the run again after its configuration changed."""
        self.engine = Engine(self.root)
        self._queue = None

    def rank_by(self, estimator: str) -> None:
        """Make another score the one that the run ranks by."""
        over = {"influence": {"estimator": estimator}}
        Run.open(self.root, change(self.engine.config, over, "The ranking"))
        self.reload()

    def ready(self) -> bool:
        """Whether there is anything to review."""
        return self.engine.status()["repair"]

    def queue_key(self) -> str:
        """What the queue was made from; raises :class:`DiffInfError` where there is none yet."""
        from diffinf_core.engine import STAGES

        if not self.ready():
            raise DiffInfError("Nothing to review yet: start the run on the Run page.")
        return str(STAGES["repair"][0](self.engine.run).key)

    def queue(self) -> pd.DataFrame:
        """The review queue, read once per repair stage."""
        stamp = self.queue_key()
        if self._queue is None or stamp != self._stamp:
            self._queue, self._stamp = self.engine.queue(), stamp
        return self._queue

    def filtered(self, state: str, label: str, flag: str, sort: str) -> list[str]:
        """Sample ids of the queue under the page's filters."""
        table = self.queue()
        decided = self.engine.decisions()
        if label != "all":
            table = table[table["label"] == label]
        if flag == "flagged":
            table = table[table["flags"] != ""]
        elif flag == "unflagged":
            table = table[table["flags"] == ""]
        elif flag != "all":
            table = table[table["flags"].str.contains(flag, regex=False)]
        columns = {
            "most suspicious first": ("rank", True),
            "judge agrees least": ("judge_after", True),
            "identity lowest": ("identity", True),
            "largest change": ("perceptual", False),
        }
        column, ascending = columns.get(sort, ("rank", True))
        table = table.sort_values(column, ascending=ascending, kind="stable")
        ids = [str(i) for i in table["id"]]
        if state == "undecided":
            return [i for i in ids if i not in decided or decided[i].action == "second_look"]
        if state == "decided":
            return [i for i in ids if i in decided]
        if state != "all":
            return [i for i in ids if i in decided and decided[i].action == state]
        return ids

    def row(self, sample: str) -> pd.Series:
        """The queue's row of a sample."""
        table = self.queue()
        found = table[table["id"] == sample]
        if found.empty:
            raise DiffInfError(f"Sample {sample!r} is not in the queue.")
        return found.iloc[0]
