"""The shortcut audit finds what was planted, and nothing where nothing is."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from diffinf_core.export.audit import pixels, properties
from diffinf_core.export.audit.audit import RECOGNISED, _label, _warnings
from diffinf_core.export.audit.detector import FEWEST, Detection, auroc, detect

N, SIDE = 80, 64
GROUPS = np.array([str(i) for i in range(2 * N)])
EDITED = np.arange(2 * N) < N


def picture(number: int) -> np.ndarray:
    """A smooth picture with noise, another for each number."""
    rng = np.random.default_rng(number)
    low = Image.fromarray(rng.integers(40, 215, (5, 5, 3)).astype(np.uint8))
    smooth = np.asarray(low.resize((SIDE, SIDE), Image.Resampling.BICUBIC), float)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def encoded(image: np.ndarray, form: str = "PNG") -> bytes:
    """A picture file."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, form)
    return out.getvalue()


def bordered(image: np.ndarray) -> np.ndarray:
    """With a border of one pixel."""
    out = image.copy()
    out[[0, -1]], out[:, [0, -1]] = 0, 0
    return out


def through_jpeg(image: np.ndarray) -> np.ndarray:
    """Compressed once, as pixels tell it."""
    return np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG"))))


def by_pixels(plant: Callable[[np.ndarray], np.ndarray]) -> Detection:
    """How well planted pictures are told from others by their pixels."""
    shown = [picture(i) for i in range(2 * N)]
    figures = [pixels.figures(plant(p) if e else p) for p, e in zip(shown, EDITED, strict=True)]
    found = detect(np.array(figures), EDITED, pixels.NAMES, GROUPS)
    assert found is not None
    return found


def test_edits_saved_as_jpeg_among_pngs_are_found_by_their_properties() -> None:
    rows = [
        properties.properties(encoded(picture(i), "JPEG" if e else "PNG"))
        for i, e in enumerate(EDITED)
    ]
    found = detect(np.array(rows), EDITED, properties.NAMES, GROUPS)
    assert found is not None and found.auroc == 1 and found.low > 0.9
    assert found.strongest == "format" and found.alone == 1


def test_a_border_of_one_pixel_is_found_by_pixels() -> None:
    found = by_pixels(bordered)
    assert found.auroc > 0.99 and found.low > 0.9


def test_a_compression_is_found_by_pixels_though_the_files_are_alike() -> None:
    assert by_pixels(through_jpeg).low > 0.9


def test_where_nothing_is_planted_nothing_is_found() -> None:
    found = by_pixels(lambda image: image)
    assert found.low < RECOGNISED  # nothing to warn of
    rows = [properties.properties(encoded(picture(i))) for i in range(2 * N)]
    files = detect(np.array(rows), EDITED, properties.NAMES, GROUPS)
    assert files is not None and files.low < RECOGNISED


def test_too_few_pictures_give_no_figure() -> None:
    few = np.arange(2 * N) < FEWEST - 1
    assert detect(np.zeros((2 * N, 1)), few, ["x"], GROUPS) is None


def test_the_area_is_that_of_scikit_learn_and_its_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(200) < 80
    covered = 0
    for _ in range(200):
        scores = rng.normal(positive.astype(float), 1)
        area, low, high = auroc(scores, positive)
        assert abs(area - roc_auc_score(positive, scores)) < 1e-12 and low < area < high
        covered += low < 0.7602 < high  # of two normal distributions one deviation apart
    assert 180 <= covered <= 199
    assert auroc(positive.astype(float), positive)[0] == 1
    assert auroc(-positive.astype(float), positive)[0] == 0


def test_the_mark_of_an_edit_is_no_property() -> None:
    from diffinf_core.export.encoding import as_png
    from diffinf_core.export.marks import mark

    plain = picture(1)
    marked = as_png(plain, {"Synthetic": "edited"}).data
    assert properties.properties(marked) == properties.properties(encoded(plain))
    jpeg = io.BytesIO()
    Image.fromarray(plain).save(jpeg, "JPEG", xmp=mark())
    assert properties.coded_bytes(jpeg.getvalue()) == properties.coded_bytes(encoded(plain, "JPEG"))


@pytest.mark.parametrize("side", [5, 16, 700])
def test_figures_are_numbers_for_any_picture(side: int) -> None:
    for level in (0, 255):
        values = pixels.figures(np.full((side, side + 3, 3), level, np.uint8))
        assert len(values) == len(pixels.NAMES) and np.isfinite(values).all()


class _Plan:
    classes = ("a", "b")


class _Picture:
    def __init__(self, label: str, edited: bool) -> None:
        self.label, self.edits = label, ("x",) if edited else ()


def test_how_far_edited_predicts_the_label() -> None:
    def measured(a: int, b: int) -> dict[str, object]:
        shown = [_Picture("a", i < a) for i in range(100)]
        shown += [_Picture("b", i < b) for i in range(100)]
        return _label(_Plan(), shown)  # type: ignore[arg-type]

    assert measured(50, 50)["cramers_v"] == 0
    assert measured(100, 0)["cramers_v"] == 1
    assert measured(0, 0) == {"edited_by_class": {"a": 0, "b": 0}, "cramers_v": 0.0, "p": 1.0}
    none = ("by_file", "by_file_before", "by_pixels", "by_pixels_before")
    out = {**dict.fromkeys(none), "edits": "full", "label": measured(60, 10)}
    (warning,) = _warnings(out)
    assert "60% of a and 10% of b are edited" in warning
    assert _warnings({**out, "label": measured(52, 48)}) == []


def test_a_warning_says_what_gives_edits_away_and_what_to_do() -> None:
    found = {"auroc": 0.9, "low": 0.8, "high": 0.95, "strongest": "format", "alone": 0.9}
    before = {**found, "auroc": 0.5}
    label = {"edited_by_class": {"a": 0.5, "b": 0.5}, "cramers_v": 0.0, "p": 1.0}
    out = {"edits": "full", "by_file": found, "by_file_before": before, "by_pixels": None,
           "by_pixels_before": None, "label": label}  # fmt: skip
    (warning,) = _warnings(out)
    assert "file properties (AUROC 0.90, 95 % 0.80 to 0.95), most by format" in warning
    assert "'diffinf audit RUN' measures every form" in warning
    # what the originals give away is content
    assert _warnings({**out, "by_file_before": {**found, "auroc": 0.88}}) == []
