"""What one browser has of the Review page: which pairs are on its table, and which of them it shows.

A :class:`PageState` is changed in place, so an edit that still streams sees that its visitor has moved on.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from diffinf_core.records import MODES
from diffinf_core.ui.filters import Filter
from diffinf_core.ui.review.knobs import RunDefaults

#: where the server restarted under an open page, or has forgotten it
UNKNOWN = "The server no longer knows this page, as after a restart; reload it to have its filters in force."
#: stands for the version while an unfinished edit is shown
EDITING = "editing"


@dataclass(frozen=True)
class DisplayedPair:
    """What a browser says it shows; empty where it shows nothing.

    ``stamp`` and ``role`` are what a decision on it is compared with, ``mode`` is written with it; see
    ``Session.decide``.
    """

    sample: str = ""
    version: str = ""
    stamp: int | None = None
    role: str | None = None
    mode: str | None = None

    @classmethod
    def read(cls, text: str) -> DisplayedPair:
        """From the page, which anybody may have written."""
        sample, version, stamp, role, mode = (*text.split(" "), "", "", "", "", "")[:5]
        seen = int(stamp) if stamp.isdecimal() else None
        known = mode if mode in MODES else None
        return cls(sample, "" if version == "-" else version, seen, role or None, known)

    def __str__(self) -> str:
        return f"{self.sample} {self.version or '-'} {self.stamp} {self.role} {self.mode}"


class Turn:
    """A lock that is let through one at a time; a copy of its page's state gets one of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: Any) -> Turn:
        return Turn()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@dataclass
class PageState:
    """Where one browser is: ``order`` are sample ids, ``at`` the place of the one shown.

    Who changes it holds its ``turn``: two keys that were pressed together come one after the other.
    """

    order: list[str] = field(default_factory=list)
    at: int = 0
    #: the sample on the screen, "" while there is none
    sample: str = ""
    #: the version on the screen
    version: str = ""
    wanted: Filter = field(default_factory=Filter)
    #: what the queue was made from when the order was, "" while there is none
    known: str = ""
    #: why there is no queue
    trouble: str = ""
    #: what the browser shows, as it was last sent
    displayed: DisplayedPair = DisplayedPair()
    #: how often the table was filled
    fills: int = 0
    #: (sample, how many versions it had) when the edit that runs began, None while none runs
    editing: tuple[str, int] | None = None
    #: when, by the page's clock, each edit was asked for that did not end yet
    edits: set[str] = field(default_factory=set)
    #: when, by the same clock, Cancel was pressed last
    halted: str = ""
    #: which edit ended last
    ended: str = ""
    turn: Turn = field(default_factory=Turn)
    #: (sample, version) that is compared with the version on the screen
    beside: tuple[str, str] = ("", "")
    #: the settings of the run that the controls of Re-edit were last set for
    knobs_at: RunDefaults | None = None
    #: whether the reviewer wants scores and predictions hidden until they decided
    blind: bool = False

    def bring(self, sample: str) -> None:
        """Show this pair now, and after it the one that was shown."""
        if self.sample == sample:
            return
        if sample in self.order:
            gone = self.order.index(sample)
            self.order.pop(gone)
            self.at -= gone < self.at
        self.order.insert(self.at, sample)

    @property
    def unknown(self) -> bool:
        """Whether it was never filled: the page was open before, and the server restarted or forgot it."""
        return not (self.fills or self.trouble)
