"""Table 1 of the paper: its own arithmetic, and which class mixes its kappas allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import linprog

from diffinf_core.report.paper import paper_task

CLASSES = (["young", "middle", "old"], ["happy", "neutral", "surprised", "sad"])
#: FFHQ by its published expression features: happy, neutral, surprised, sad
NATURAL = (43277, 24179, 835, 652)


def kappa_range(shares: Sequence[float], accuracy: float) -> tuple[float, float]:
    """Lowest and highest linear kappa among confusion matrices of these class shares and this accuracy.

    A linear-fractional programme: 1 - w.O / w.E, where E has O's margins, those of the truth are fixed, and
    O = variables / the last.
    """
    C, r = len(shares), np.asarray(shares) / np.sum(shares)
    w = np.abs(np.subtract.outer(np.arange(C), np.arange(C))) / (C - 1)
    expected = np.tile(r @ w, C)  # column j of any row costs sum_i r_i w_ij
    equal = [np.append(expected, 0), np.append(np.eye(C).ravel(), -accuracy)]
    equal += [np.append(np.repeat(np.eye(C)[i], C), -r[i]) for i in range(C)]
    right = np.append(1, np.zeros(C + 1))
    lowest, highest = (
        1 - sign * linprog(sign * np.append(w.ravel(), 0), A_eq=np.array(equal), b_eq=right).fun
        for sign in (-1, 1)
    )
    return float(lowest), float(highest)


@pytest.mark.parametrize("classes", CLASSES)
def test_every_kappa_is_possible_on_a_balanced_test_set(classes: list[str]) -> None:
    task = paper_task(classes)
    assert task is not None and len(task.rows) == 7
    for name, (accuracy, _, kappa) in task.rows.items():
        lowest, highest = kappa_range([1] * len(classes), accuracy / 100)
        assert lowest - 0.005 <= kappa <= highest + 0.005, name


@pytest.mark.parametrize("name,highest", [("proselflc", 0.739), ("small_loss", 0.760)])
def test_two_kappas_are_impossible_under_the_natural_mix(name: str, highest: float) -> None:
    task = paper_task(CLASSES[1])
    assert task is not None
    accuracy, _, kappa = task.rows[name]
    found = kappa_range(NATURAL, accuracy / 100)[1]
    assert found == pytest.approx(highest, abs=5e-4) and kappa - 0.005 > found


def test_the_gains_that_the_text_quotes_follow_from_the_table() -> None:
    quoted = {
        ("young", "noisy"): (12.93, 9.46, 0.2),
        ("happy", "noisy"): (15.29, 4.95, 0.21),
        ("happy", "removal"): (0.82, 0.11, 0.02),
    }
    for (first, over), gains in quoted.items():
        task = paper_task(next(names for names in CLASSES if first in names))
        assert task is not None
        pairs = zip(task.rows["repair"], task.rows[over], strict=True)
        assert [round(a - b, 2) for a, b in pairs] == list(gains)


def test_the_task_is_known_by_its_classes_whatever_their_order_and_case() -> None:
    assert paper_task(["Old", "YOUNG", "middle"]) is paper_task(CLASSES[0])
    assert paper_task(list("abc")) is None
