"""How well first stages reconstruct photographs, on pictures that were not trained on:

    python -m tests.benchmarks.first_stages NAME FOLDER [--minutes 8] [--first-stage FOLDER]

FOLDER holds pictures; each is brought to 128 pixels. The own first stage is trained on 19 of 20, its
principal components are taken of the same, and PSNR and LPIPS-Alex are means over 64 of the others.
``--first-stage`` is a published one to compare with. The table goes to ``docs/photographs.md``; only figures
are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffinf_core.data.pictures import pack_pictures
from diffinf_core.diffusion.first_stage import (
    BESIDE,
    FirstStage,
    import_first_stage,
    load_first_stage,
)
from diffinf_core.diffusion.own_first_stage import (
    FirstStageTraining,
    begin_with_components,
    first_stage_figures,
    own_first_stage,
    train_first_stage,
)
from diffinf_core.diffusion.sources import PictureSource
from diffinf_core.diffusion.speed import measured_precision
from tests.benchmarks.pages import RESULTS, ROOT, put

FILE, PAGE = RESULTS / "first_stages.json", ROOT / "docs" / "photographs.md"
_SIZE, _MEASURED = 128, 64


def measure(pictures: Path, minutes: float, published: Path | None) -> list[dict[str, Any]]:
    """A row for each first stage."""
    out: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for _ in pack_pictures(pictures, scratch / "pictures", _SIZE):
            pass
        source = PictureSource(np.load(scratch / "pictures" / "images.npy", mmap_mode="r"))
        held = source.held_out()[:_MEASURED]

        def row(what: str, stage: FirstStage) -> None:
            figures = first_stage_figures(stage, held)
            out.append({"first stage": what, "channels": stage.channels, **figures})

        if published is not None:
            stage = load_first_stage(import_first_stage(published, scratch / "published"))
            row(stage.name, stage)
        stage = own_first_stage()
        begin_with_components(stage, source, 0)
        row("principal components alone", stage)
        precision = measured_precision(stage, held[:4])
        settings = FirstStageTraining(minutes=minutes, precision=precision)
        for event in train_first_stage(source, scratch / "own", settings, pictures.name):
            print(event.done, event.total, event.values, flush=True)
        where = "a GPU" if torch.cuda.is_available() else "one core"
        row(f"own, {minutes:g} minutes on {where}", load_first_stage(scratch / "own" / BESIDE))
    return out


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The rows of all sets of pictures as Markdown."""
    lines = [
        "| pictures | first stage | channels | PSNR, dB | LPIPS-Alex |",
        "|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        lines += [
            f"| {name} | {r['first stage']} | {r['channels']} | {r['psnr']:.1f} | {r['lpips']:.3f} |"
            for r in rows
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure one set of pictures, and write the table of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="what the table calls the pictures")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--first-stage", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    found[given.name] = measure(given.folder, given.minutes, given.first_stage)
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    put(PAGE, "first stages", table(found))


if __name__ == "__main__":
    main()
