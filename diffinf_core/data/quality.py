"""Quality of the training pictures as they came: sharpness, exposure, size and shape of each file.

Exposure and shape are judged as CleanVision does (github.com/cleanlab/cleanvision), by its thresholds; the
package itself would bring matplotlib and imagehash for these few lines. Sharpness and size mean
different things for different data sets, so there a picture is judged against the others by Tukey's fence.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.data.decode import Pixels, open_upright
from diffinf_core.data.ingest import DATA, source_folder
from diffinf_core.data.part import open_training
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_array, write_array
from diffinf_core.runs.run import Run
from diffinf_core.runs.slices import map_slices, read_slices
from diffinf_core.runs.stages import Stage, Work

#: longer side in pixels at which sharpness is measured, so that it can be compared between sizes
MEASURED = 256
#: pictures per file of measures
SLICE = 256
#: CleanVision's: brightest percentile below, darkest above, and shorter by longer side below these
DARK, BRIGHT, ODD = 0.32, 0.95, 0.35
_COLUMNS = ("sharpness", "brightness", "darkest", "brightest", "width", "height")
_LUMA = np.array([0.299, 0.587, 0.114])


def sharpness(grey: NDArray[np.float64]) -> float:
    """Standard deviation of the Laplacian of a grey picture (H, W) in [0, 1]; 0 without detail.

    The focus measure of Pech-Pacheco et al. (2000).
    """
    if min(grey.shape) < 3:
        return 0.0
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * middle).std())


def measures(image: Image.Image, size: tuple[int, int]) -> list[float]:
    """The values of a picture, RGB; ``size`` is the width and height of its file."""
    small = image.copy()
    small.thumbnail((MEASURED, MEASURED), Image.Resampling.BOX)
    grey = np.asarray(small, np.float64) @ _LUMA / 255
    darkest, brightest = np.percentile(grey, (5, 99))
    return [sharpness(grey), float(grey.mean()), float(darkest), float(brightest), *size]


def _file_size(path: Path) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that a reduced JPEG may have
        with Image.open(path) as image:
            return image.size


def run_quality(run: Run) -> Work:
    """Measure every training picture from its file; ``quality.npy`` float32 (N, 6) in training order.

    A file that is no more there is measured as the run decoded it, and its size is not known (NaN).
    """
    stage, train, root = QUALITY.folder(run), open_training(run), source_folder(run)
    pixels = Pixels(run.config.data.bit_depth or 16, run.config.data.max_megapixels)
    files = train.table["file"].tolist()

    def measured(position: int) -> list[float]:
        path = root / files[position]
        try:
            return measures(open_upright(path, MEASURED, pixels), _file_size(path))
        except (DiffInfError, OSError):
            image = Image.fromarray(train.images([position])[0])
            return [*measures(image, (0, 0))[:4], np.nan, np.nan]

    def rows(positions: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([measured(int(p)) for p in positions], np.float32)

    yield from map_slices(stage, len(train), SLICE, rows, "quality", lambda: "pictures")
    found = read_slices(stage, len(train), SLICE)
    write_array(stage / "quality.npy", found.astype(np.float32))
    for file in stage.path.glob("slice-*.npy"):
        file.unlink()
    return {"n": len(train), "without_file": int(np.isnan(found[:, 4]).sum())}


#: the measures of every training picture
QUALITY = Stage(
    "quality",
    run_quality,
    "measure sharpness, exposure, size and shape of every training picture",
    inputs=(DATA,),
    settings=lambda run: [MEASURED],
)


def low(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of positive values (N,) lie below Tukey's fence, Q1 - 1.5 IQR of their logarithms; never NaN."""
    return high(1 / np.maximum(values, 1e-12))


def high(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of positive values (N,) lie above Tukey's fence, Q3 + 1.5 IQR of their logarithms; never NaN."""
    logs = np.log(np.maximum(values, 1e-12))
    if np.isnan(logs).all():
        return np.zeros(len(logs), bool)
    first, third = np.nanpercentile(logs, (25, 75))
    # equal values differ in their last digits once they are logarithms
    return logs > third + 1.5 * (third - first) + 1e-9


def read_quality(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measures (sharpness, brightness, shorter side in pixels, aspect) and issues, a row per sample.

    Issues are boolean: blurred, dark, bright, small, odd aspect. Aspect is the shorter by the longer side.
    Raises :class:`DiffInfError` where nothing is measured.
    """
    stage = QUALITY.folder(run)
    if not stage.done:
        raise DiffInfError("The quality of these pictures is not measured.")
    columns = dict(zip(_COLUMNS, read_array(stage / "quality.npy").astype(float).T, strict=True))
    short = np.minimum(columns["width"], columns["height"])
    aspect = short / np.maximum(columns["width"], columns["height"])
    found = {
        "sharpness": columns["sharpness"],
        "brightness": columns["brightness"],
        "shorter side": short,
        "aspect": aspect,
    }
    issues = {
        "blurred": low(columns["sharpness"]),
        "dark": columns["brightest"] < DARK,
        "bright": columns["darkest"] > BRIGHT,
        "small": low(short),
        "odd aspect": aspect < ODD,
    }
    return pd.DataFrame(found), pd.DataFrame(issues)
