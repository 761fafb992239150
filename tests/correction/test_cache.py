"""Inversions are computed once; what is damaged or hostile in the cache counts as absent."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffinf_core.correction.cache import InversionCache
from diffinf_core.correction.editing import Preview
from diffinf_core.correction.guidance import Inversion
from diffinf_core.correction.repairer import Repairer
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.run import Run


def some(seed: int, n: int = 2) -> Inversion:
    torch.manual_seed(seed)
    big = torch.randn(2, n, 3, 64, 64)
    return Inversion(torch.randn(n, 128), big[0], big[1])


def same(a: Inversion, b: Inversion) -> bool:
    return all(
        torch.equal(getattr(a, k), getattr(b, k)) for k in ("z_sem", "x_T", "reconstruction")
    )


def test_a_batch_comes_back_in_any_order(tmp_path: Path) -> None:
    cache, found = InversionCache(tmp_path), some(0)
    where = torch.device("cpu")
    assert cache.inversions(["a", "b"], where) is None
    cache.keep(["a", "b"], found)
    back = InversionCache(tmp_path).inversions(["b", "a"], where)
    assert back is not None and torch.equal(back.x_T, found.x_T.flip(0))
    assert cache.inversions(["a", "c"], where) is None
    cache.keep_seen(["s", "t"], [3, 0])
    assert cache.seen(["t", "s"]) == [0, 3] and cache.seen(["t", "u"]) is None
    assert cache.seen(["a"]) is None


def test_a_damaged_entry_counts_as_none(tmp_path: Path) -> None:
    cache = InversionCache(tmp_path)
    cache.keep(["a"], some(1, 1))
    base = sqlite3.connect(tmp_path / "cache.db")
    with base:
        base.execute("UPDATE Cache SET value = substr(value, 1, 1000)")
    base.close()
    assert cache.inversions(["a"], torch.device("cpu")) is None
    cache.keep(["a"], some(1, 1))
    assert cache.inversions(["a"], torch.device("cpu")) is not None


class Hostile:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_pickle_put_into_the_cache_is_not_opened(tmp_path: Path) -> None:
    cache, mark = InversionCache(tmp_path / "cache"), tmp_path / "mark"
    cache.keep_seen(["a"], [1])
    base = sqlite3.connect(tmp_path / "cache" / "cache.db")
    with base:
        base.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(Hostile(mark)),))
    base.close()
    again = InversionCache(tmp_path / "cache")
    assert again.seen(["a"]) is None and again.inversions(["a"], torch.device("cpu")) is None
    assert not mark.exists()


def test_a_foreign_file_named_in_the_cache_is_neither_read_nor_removed(tmp_path: Path) -> None:
    cache, victim = InversionCache(tmp_path / "cache"), tmp_path / "victim"
    victim.write_bytes(b"7")
    cache.keep_seen(["a", "b"], [1, 1])
    base = sqlite3.connect(tmp_path / "cache" / "cache.db")
    with base:
        base.execute(
            "UPDATE Cache SET mode = 2, value = NULL, filename = ?, expire_time = 1 WHERE key = 'a'",
            (str(victim),),
        )
        base.execute(
            "UPDATE Cache SET mode = 2, value = NULL, filename = ? WHERE key = 'b'", (str(victim),)
        )
    base.close()
    again = InversionCache(tmp_path / "cache")
    assert again.seen(["b"]) is None
    again.keep_seen(["a", "b", "c"], [1, 1, 1])
    assert victim.read_bytes() == b"7"


def test_a_broken_cache_never_stops_a_repair(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.db").write_bytes(b"no database" * 100)
    cache = InversionCache(tmp_path / "cache")
    cache.keep(["a"], some(2, 1))
    cache.keep_seen(["a"], [1])
    assert cache.inversions(["a"], torch.device("cpu")) is None and cache.seen(["a"]) is None


def test_a_re_edit_inverts_nothing_again(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repairer = Repairer(Run.open(run_copy))
    base = repairer.run.config.repair
    position = np.flatnonzero(ranking(repairer.run)["high"].to_numpy())[:1]
    calls: list[int] = []
    predict = repairer.generator.predict

    def counted(*args: Any, **more: Any) -> Any:
        calls.append(1)
        return predict(*args, **more)

    monkeypatch.setattr(repairer.generator, "predict", counted)
    (*_, first, _) = repairer.repair(position, base.model_copy(update={"w_id": 9.0}))
    again = len(calls)
    (*_, second, _) = repairer.repair(position, base.model_copy(update={"w_id": 9.0, "seed": 0}))
    # The run itself kept the inversion: only guided decoding is left, a doubled batch per step.
    assert again == len(calls) - again == base.steps
    assert isinstance(first, Preview) and isinstance(second, Preview)
    np.testing.assert_array_equal(first.images, second.images)
    (*_, _, _) = repairer.repair(position, base.model_copy(update={"t0": 500}))
    assert len(calls) - 2 * again == 3 * base.steps
