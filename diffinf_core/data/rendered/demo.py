"""Write the embedded data set: rendered faces, their part masks and a table of every truth."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.render import render_face
from diffinf_core.records import Progress
from diffinf_core.runs.files import write_table
from diffinf_core.runs.workers import worker_pool

_CHUNK = 50
#: fainter expressions than this are ambiguous to people too, so the clean labels leave them out
CLEAR_INTENSITY = 0.4


def _skin_group(depth: float) -> str:
    return ("light", "medium", "dark")[min(2, int(depth / 5 * 3))]


def _face(folder: Path, seed: int, size: int, index: int) -> dict[str, object]:
    rng = np.random.default_rng((seed, 2, index))
    person = faces.sample_identity(rng)
    kind, years = int(rng.integers(4)), int(rng.integers(3))
    strength = None if kind == faces.NEUTRAL else rng.uniform(CLEAR_INTENSITY, 1.0)
    shown = faces.sample_expression(rng, kind, strength)
    age = faces.sample_age(rng, years)
    image, parts = render_face(person, shown, age, faces.sample_nuisance(rng), size)
    name = f"images/{index:05d}.png"
    Image.fromarray(image).save(folder / name)
    Image.fromarray(parts).save(folder / f"parts/{index:05d}.png")
    return {
        "file": name,
        "expression": faces.EXPRESSIONS[kind],
        "age": faces.AGES[years],
        "identity": f"person-{index:05d}",
        "skin": _skin_group(person.skin_depth),
        "intensity": round(shown.intensity, 4),
        "age_value": round(age, 4),
        "parts": f"parts/{index:05d}.png",
    }


def _chunk(folder: Path, seed: int, size: int, indices: range) -> list[dict[str, object]]:
    return [_face(folder, seed, size, i) for i in indices]


def write_demo_faces(
    folder: Path, count: int, seed: int, size: int = 64, workers: int = 2
) -> Iterator[Progress]:
    """Render ``count`` faces, each another person, with ``labels.csv`` written last.

    Columns: file, expression, age, identity, skin, intensity, age_value, parts. The labels are
    clean; noise is injected later and elsewhere. The pictures do not depend on ``workers``.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "parts").mkdir(exist_ok=True)
    starts = range(0, count, _CHUNK)
    rows: list[dict[str, object]] = []
    job = partial(_chunk, folder, seed, size)
    chunks = [range(s, min(s + _CHUNK, count)) for s in starts]
    if workers < 2:
        for chunk in chunks:
            rows += job(chunk)
            yield Progress("faces", len(rows), count, "rendering demo faces")
    else:
        with worker_pool(workers) as pool:
            for result in pool.map(job, chunks):
                rows += result
                yield Progress("faces", len(rows), count, "rendering demo faces")
    write_table(folder / "labels.csv", pd.DataFrame(rows))
