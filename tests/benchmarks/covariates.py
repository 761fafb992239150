"""Whether covariates keep what goes along with the label, where it is known what that is:

    python -m tests.benchmarks.covariates TAEF2 [--minutes 6]
    python -m tests.benchmarks.covariates --page

Drawn pictures of circles and squares: in nine of ten the background has the colour of its shape, so that a
generator that is asked for the other shape also paints the other background. Two runs with the same pictures
and the same wrong labels, whose generators are trained for as long: one with the background as a covariate
and coarse colour kept, one without either; each edits over the whole picture and by inpainting. The judge has
learnt from pictures in which colour tells nothing.
TAEF2 is the folder of that autoencoder. The table goes to ``docs/photographs.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from diffinf_core.classifier.training import (
    load_classifier,
    predict_probabilities,
    train_classifier,
)
from diffinf_core.config import change, make_config, preset_for
from diffinf_core.correction.edits import edit_folder
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.overlay import read_picture
from diffinf_core.data.part import open_training, to_tensor
from diffinf_core.data.truth import open_truth
from diffinf_core.engine import open_run
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from tests.benchmarks.pages import RESULTS, ROOT, put

FILE, PAGE = RESULTS / "covariates.json", ROOT / "docs" / "photographs.md"
SHAPES, COLOURS = ("circle", "square"), ("red", "blue")
PICTURES, SIDE, FRAME, CONFOUNDED = 1600, 64, 6, 0.9
BALANCED = {"balance": 1.0}
INPAINT = {"method": "inpaint", "transfer": "delta", "guidance": 6.0, "mask_quantile": 0.4}
METHODS: dict[str, dict[str, Any]] = {
    "guided": {"method": "guided", "transfer": "delta", "guidance": 4.0},
    "inpaint": {**INPAINT, "decode_from": "mean"},
    "inpaint, decode_from=inversion": {**INPAINT, "decode_from": "inversion"},
    "inpaint, covariate_guidance=2": {**INPAINT, "decode_from": "mean", "covariate_guidance": 2.0},
}
WAYS: dict[str, dict[str, Any]] = {
    "with covariates": {"covariates": ("background",), "colour": True, "training": BALANCED},
    "without": {"covariates": (), "colour": False, "training": BALANCED},
}


def drawn(rng: np.random.Generator, shape: int, colour: int) -> NDArray[np.uint8]:
    """A grey shape of some size somewhere on a background of some red or blue, with grain."""
    tint = np.array([(190, 70, 60), (60, 80, 190)][colour]) + rng.integers(-30, 31, 3)
    scene = Image.new("RGB", (2 * SIDE, 2 * SIDE), tuple(int(v) for v in tint))
    radius, grey = rng.integers(24, 36), int(rng.integers(170, 236))
    x, y = rng.integers(radius + 16, 2 * SIDE - radius - 16, 2)
    box = [int(v) for v in (x - radius, y - radius, x + radius, y + radius)]
    draw = ImageDraw.Draw(scene)
    (draw.ellipse if shape == 0 else draw.rectangle)(box, fill=(grey,) * 3)
    small = scene.filter(ImageFilter.GaussianBlur(1)).resize((SIDE, SIDE), Image.Resampling.BOX)
    grain = rng.normal(0, 4, (SIDE, SIDE, 3))
    return np.clip(np.asarray(small) + grain, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Drawn:
    """A training set in memory."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self, positions: NDArray[np.int64]) -> Tensor:
        """Pictures (B, 3, S, S)."""
        return to_tensor(self.pictures[np.asarray(positions)])


def draw_set(seed: int, n: int, confounded: float) -> tuple[Drawn, NDArray[np.int64]]:
    """Pictures and the colours (n,) of their backgrounds, ``confounded`` of them those of the shape."""
    rng = np.random.default_rng(seed)
    shapes = rng.integers(0, 2, n)
    colours = np.where(rng.random(n) < confounded, shapes, 1 - shapes)
    pictures = [drawn(rng, s, c) for s, c in zip(shapes.tolist(), colours.tolist(), strict=True)]
    return Drawn(np.stack(pictures), shapes), colours


def write_data(folder: Path) -> None:
    """The confounded pictures, and a table with their shape and background."""
    folder.mkdir()
    data, colours = draw_set(0, PICTURES, CONFOUNDED)
    rows = []
    for i, picture in enumerate(data.pictures):
        Image.fromarray(picture).save(folder / f"{i:05d}.png")
        rows.append((f"{i:05d}.png", SHAPES[data.labels[i]], COLOURS[colours[i]]))
    table = pd.DataFrame(rows, columns=["file", "label", "background"])
    table.to_csv(folder / "labels.csv", index=False)


def trained_judge(folder: Path) -> tuple[torch.nn.Module, float]:
    """A classifier of shapes whatever the colour, and its accuracy on others of that kind."""
    config = make_config("demo").classifier.model_copy(
        update={"architecture": "small", "epochs": 8, "checkpoints": 1}
    )
    for _ in train_classifier(draw_set(1, 1500, 0.5)[0], 2, config, folder):
        pass
    net = load_classifier(folder / "final.pt", "small", 2)
    data, _ = draw_set(2, 500, 0.5)
    seen = predict_probabilities(net, data).argmax(1)
    return net, float((seen == data.labels).mean())


def background(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean colour (3,) of the picture's frame, which no shape reaches."""
    inside = np.zeros((SIDE, SIDE), bool)
    inside[FRAME:-FRAME, FRAME:-FRAME] = True
    return picture[~inside].astype(float).mean(0)


def figures(run: Run, judge: torch.nn.Module, sheet: Path | None) -> dict[str, Any]:
    """What edits towards wrong labels did to shape and background."""
    truth = open_truth(run, "report").training()
    assert truth is not None
    train, (clean, wrong) = open_training(run), truth
    versions, rows = read_json(REPAIR.folder(run) / "versions.json"), []
    at = np.flatnonzero(wrong & ranking(run)["high"].to_numpy()).tolist()
    for position in at:
        sample = str(train.ids[position])
        folder = edit_folder(run, sample, versions[sample])
        original = train.images([position])[0]
        rows.append(
            [original, *(read_picture(folder / f) for f in ("reconstruction.png", "edit.png"))]
        )
    originals, rebuilt, edits = (np.stack(column) for column in zip(*rows, strict=True))
    seen = predict_probabilities(judge, Drawn(edits, clean[at])).argmax(1)
    before = np.stack([background(p) for p in originals])
    moved = {
        name: np.linalg.norm(np.stack([background(p) for p in pictures]) - before, axis=1)
        for name, pictures in (("reconstruction", rebuilt), ("edit", edits))
    }
    if sheet is not None:
        strips = [np.concatenate([np.concatenate(list(p[:20]), 1)]) for p in (originals, edits)]
        Image.fromarray(np.concatenate(strips)).save(sheet)
    usual = float(np.percentile(moved["reconstruction"], 95))
    return {
        "n": len(at),
        "turned": float((seen == train.labels[at]).mean()),
        "moved": float(np.median(moved["edit"])),
        "usual": usual,
        "kept": float((moved["edit"] <= usual).mean()),
        "other_background": float((moved["edit"] > 60).mean()),
    }


def main() -> None:
    """Train both, and write the page."""
    parse = argparse.ArgumentParser()
    parse.add_argument("taef2", nargs="?")
    parse.add_argument("--minutes", type=float, default=6.0)
    parse.add_argument("--sheets", type=Path)
    parse.add_argument("--page", action="store_true")
    args = parse.parse_args()
    if not args.page:
        found: dict[str, Any] = {"minutes": args.minutes}
        with tempfile.TemporaryDirectory() as scratch:
            home = Path(scratch)
            write_data(home / "data")
            judge, found["judge"] = trained_judge(home / "judge")
            for way, over in WAYS.items():
                config = preset_for(
                    "photographs",
                    {
                        "data": {
                            "source": "folder",
                            "path": str(home / "data"),
                            "image_size": SIDE,
                        },
                        "noise": {"rate": 0.2},
                        "classifier": {"architecture": "small", "epochs": 12},
                        "generator": {"first_stage": args.taef2, "minutes": args.minutes, **over},
                        "repair": METHODS["guided"],
                    },
                )
                folder = home / way.replace(" ", "-")
                found[way] = {}
                for method, repair in METHODS.items():
                    if "covariate_guidance" in repair and not over["covariates"]:
                        continue
                    opened = open_run(folder, change(config, {"repair": repair}))
                    for _ in opened.compute():
                        pass
                    name = f"{folder.name}-{method.replace(', ', '-')}.png"
                    found[way][method] = figures(
                        opened.folder, judge, args.sheets and args.sheets / name
                    )
                    print(way, method, json.dumps(found[way][method]), flush=True)
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    put(PAGE, "covariates", words(json.loads(FILE.read_text())))


def words(found: dict[str, Any]) -> str:
    """The table in Markdown."""
    lines = [
        "| generator | edit | n | judge sees the assigned shape | background moved, median | within what "
        "reconstructions move (95 %) | another background |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in WAYS:
        for method, f in found[way].items():
            lines.append(
                f"| {way} | {method} | {f['n']} | {f['turned']:.2f} | {f['moved']:.0f} "
                f"| {f['kept']:.2f} ({f['usual']:.0f}) | {f['other_background']:.2f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
