"""Without a shortcut the audit's interval covers one half, over many draws of which pictures are edited."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from diffinf_core.export.audit import pixels, properties
from diffinf_core.export.audit.audit import RECOGNISED
from diffinf_core.export.audit.detector import CROSS_FITTED, Floats, auroc, detect
from tests.export.test_audit import bordered, encoded, picture

N, SEEDS = 60, 25


@pytest.fixture(scope="module")
def figures() -> dict[str, Floats]:
    """Figures of pictures that differ in nothing but their content."""
    shown = [picture(1000 + i) for i in range(N)]
    return {
        "pixels": np.array([pixels.figures(p) for p in shown]),
        "files": np.array([properties.properties(encoded(p)) for p in shown]),
    }


def drawn(seed: int) -> np.ndarray:
    """Half of the pictures, by chance."""
    return np.random.default_rng(seed).permutation(N) < N // 2


@pytest.mark.parametrize("kind,names", [("pixels", pixels.NAMES), ("files", properties.NAMES)])
def test_its_interval_covers_one_half_in_nearly_all_draws(
    figures: dict[str, Floats], kind: str, names: list[str]
) -> None:
    groups = np.arange(N).astype(str)
    covered, warned = 0, 0
    for seed in range(SEEDS):
        found = detect(figures[kind], drawn(seed), names, groups, seed)
        assert found is not None and 0 <= found.low <= found.auroc <= found.high <= 1
        covered += found.low <= 0.5 <= found.high
        warned += found.low > RECOGNISED
    # of 25 with probability .95: fewer than 21 in seven of a thousand
    assert covered >= 21
    assert warned == 0


def test_scores_that_go_up_and_down_together_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(200) < 100
    scores = rng.normal(positive.astype(float), 1)
    area, low, high = auroc(scores, positive)
    same, lower, higher = auroc(scores, positive, CROSS_FITTED)
    assert same == area and CROSS_FITTED == 1.5  # five folds: the square root of 1 + 5 / 4
    for narrow, wide in ((low, lower), (high, higher)):
        assert logit(wide) - logit(area) == pytest.approx(1.5 * (logit(narrow) - logit(area)))


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_border_is_found_in_the_same_draws(figures: dict[str, Floats], seed: int) -> None:
    edited, rows = drawn(seed), figures["pixels"].copy()
    for i in np.flatnonzero(edited):
        rows[i] = pixels.figures(bordered(picture(1000 + i)))
    found = detect(rows, edited, pixels.NAMES, np.arange(N).astype(str), seed)
    # that all of 30 are told apart bounds the area by 1 - 3 / 30, no higher
    assert found is not None and found.auroc > 0.99 and found.low >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_planted_jpegs_among_pngs_are_found_in_the_same_draws(
    figures: dict[str, Floats], seed: int
) -> None:
    edited, rows = drawn(seed), figures["files"].copy()
    for i in np.flatnonzero(edited):
        rows[i] = properties.properties(encoded(picture(1000 + i), "JPEG"))
    found = detect(rows, edited, properties.NAMES, np.arange(N).astype(str), seed)
    assert found is not None and found.low > 0.8 and found.strongest == "format"
