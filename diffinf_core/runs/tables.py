"""Tables of a run's folder, each parsed once: a file that has not changed since is not read again.

Not for the truth: a seal sees files that are opened, and not what is in memory already.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diffinf_core.records import DiffInfError
from diffinf_core.runs.cells import readable
from diffinf_core.runs.files import remedy

#: tables that are kept; one of 70,000 rows and eight columns takes some 10 MB
_KEPT = 8
#: a file may change again within one tick of its file system's clock: 2 s where that is coarsest
_TICK_NS = 2_000_000_000

_Key = tuple[Path, tuple[str, ...] | None]
_Stamp = tuple[int, ...]
_tables: OrderedDict[_Key, tuple[_Stamp, pd.DataFrame]] = OrderedDict()
_lock = threading.Lock()


def read_table(path: Path, text: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of a CSV file, as a frame of the caller's own.

    ``text`` names the columns to keep as text, numbers are parsed elsewhere; without it every column is
    text and an empty cell is "". The table counts as current while the file's size, times and inode are
    the same. One that was written within the last two seconds is parsed at every call, as it could be
    written again without a trace in its times.
    """
    key = (path, None if text is None else tuple(text))
    try:
        now, stamp = time.time_ns(), _stamp(path)
    except OSError as error:
        raise DiffInfError(f"{path} is missing; {remedy(path)}.") from error
    with _lock:
        known = _tables.get(key)
        if known is not None and known[0] == stamp:
            _tables.move_to_end(key)
            return known[1].copy()
    table = _parse(path, text)
    with _lock:
        if now - max(stamp[1:3]) > _TICK_NS:
            _tables[key] = (stamp, table)
            _tables.move_to_end(key)
        else:
            _tables.pop(key, None)
        while len(_tables) > _KEPT:
            _tables.popitem(last=False)
    return table.copy()


def _stamp(path: Path) -> _Stamp:
    seen = path.stat()
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino


def _parse(path: Path, text: Sequence[str] | None) -> pd.DataFrame:
    try:
        if text is None:
            return readable(pd.read_csv(path, dtype=str, keep_default_na=False))
        return readable(pd.read_csv(path, dtype=dict.fromkeys(text, str)))
    except (OSError, ValueError) as error:  # pandas' own errors are values, too
        raise DiffInfError(f"{path} cannot be read ({error}); {remedy(path)}.") from error
