"""Whether edits of photographs are clean to eyes that know nothing of them:

    python -m tests.benchmarks.blind_look sheets OUT --run RUN [--most 60]
    python -m tests.benchmarks.blind_look sheets OUT --people GENERATOR FOLDER [--grey] [--set k=v,k=v]
    python -m tests.benchmarks.blind_look mix OUT
    python -m tests.benchmarks.blind_look rated NAME OUT RATINGS.json [RATINGS.json ...]

``sheets`` adds edits to OUT, as often as it is called: the unflagged ones of a run's wrong labels by rank,
or those of people whom the generator has never seen, by file, and for every fourth of these a real picture
of the person under the label asked for. ``mix`` writes numbered sheets in random order, original beside
edit. Each rater gives every right-hand picture 0 (clean), 1 (an artefact that a reviewer notices and may
accept) or 2 (defective at sight: smeared, spotted, bearded, doubled): {"1": 0, "2": 2, ...}. ``rated`` keeps
the counts, and how well *strongest change* ranks what all call defective.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score

from diffinf_core.correction.edits import read_edit
from diffinf_core.correction.quality import strongest_change
from diffinf_core.correction.repair import repair
from diffinf_core.correction.repairer import Repairer
from diffinf_core.data.part import to_tensor
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.runs.run import Run
from tests.benchmarks.measures import Pictures
from tests.benchmarks.photographs import Mislabelled, keep, person_picture

REAL, _ORDER = "real pictures", "order.json"
_WIDE, _HIGH, _SIDE, _TITLE = 3, 4, 256, 20


def of_run(out: Path, folder: Path, most: int) -> None:
    """The unflagged edits of a run's wrong labels, the most suspicious first."""
    run = Run.open(folder)
    repairer, chosen = Repairer(run), Mislabelled.of(run, None)
    edits = zip(chosen.positions, chosen.edited(repairer, run.config.repair), strict=True)
    shown = [(position, edit) for position, edit in edits if not edit.flags][:most]
    x = repairer.train.images(np.array([position for position, _ in shown]))
    made = np.stack([read_edit(run, edit.sample, edit.version) for _, edit in shown])
    _add(out, f"{folder.name}, unflagged", x, made)


def of_people(
    out: Path, generator: Path, folder: Path, settings: str, grey: bool, most: int
) -> None:
    """Edits of people with a smiling and a neutral picture each, to the other, and real pictures of some."""
    table = pd.read_csv(folder / "labels.csv", dtype=str).iloc[: 2 * (most // 2)]
    side = load_autoencoder(generator).architecture.image_size
    x = np.stack([person_picture(folder / file, side, grey) for file in table["file"]])
    asked = ["happy" if label == "neutral" else "neutral" for label in table["label"]]
    changes = dict(pair.split("=", 1) for pair in settings.split(",") if pair)
    made = repair([*map(Image.fromarray, x)], asked, generator=generator, settings=changes).result()
    what = f"{generator.parent.name}, {'grey' if grey else 'colour'}, {settings or 'as the preset'}"
    _add(out, what, x, np.stack([edit.image for edit in made]))
    other = x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)
    # every second person, in turn to the one and to the other
    some = np.arange(0, len(x), 4) + np.arange(len(x[::4])) % 2
    _add(out, REAL, x[some], other[some])


def _add(out: Path, what: str, x: Pictures, edits: Pictures) -> None:
    out.mkdir(parents=True, exist_ok=True)
    n = len(list(out.glob("*.npz")))
    np.savez(out / f"{n:02d}.npz", what=what, x=x, edits=edits)


def _added(out: Path) -> tuple[list[str], Pictures, Pictures]:
    """What each pair is, originals and edits, as they were added."""
    names: list[str] = []
    parts: list[tuple[Pictures, Pictures]] = []
    for file in sorted(out.glob("*.npz")):
        with np.load(file) as held:
            names += [str(held["what"])] * len(held["x"])
            parts.append((held["x"], held["edits"]))
    x, edits = (np.concatenate(p) for p in zip(*parts, strict=True))
    return names, x, edits


def mix(out: Path) -> None:
    """Numbered sheets of all pairs, and nothing in them that says what a pair is."""
    names, x, edits = _added(out)
    order = np.random.default_rng(0).permutation(len(names))
    (out / _ORDER).write_text(json.dumps(order.tolist()))
    x, edits = x[order], edits[order]
    (out / "sheets").mkdir(exist_ok=True)
    per = _WIDE * _HIGH
    for first in range(0, len(x), per):
        sheet = Image.new("RGB", (_WIDE * (2 * _SIDE + 16), _HIGH * (_SIDE + _TITLE)), "white")
        draw = ImageDraw.Draw(sheet)
        for i in range(first, min(first + per, len(x))):
            row, column = divmod(i - first, _WIDE)
            left, top = column * (2 * _SIDE + 16), row * (_SIDE + _TITLE)
            draw.text((left + 4, top + 4), f"#{i + 1}: left original, right edit", fill="black")
            for k, picture in enumerate((x[i], edits[i])):
                shown = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
                sheet.paste(shown, (left + k * (_SIDE + 2), top + _TITLE))
        sheet.save(out / "sheets" / f"sheet{first // per + 1:02d}.png")


def rated(out: Path, files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """For each kind of pair: n, the counts of 0, 1 and 2 by each rater, how many all call defective, and
    the AUROC of *strongest change* for these among all of its kind, None where all are, or none."""
    added, x, edits = _added(out)
    order = json.loads((out / _ORDER).read_text())
    assert len(order) == len(added), "pairs were added after the sheets were mixed"
    names, x, edits = [added[i] for i in order], x[order], edits[order]
    given = [json.loads(file.read_text()) for file in files]
    ratings = np.array([[int(one[str(i + 1)]) for one in given] for i in range(len(names))])
    change = strongest_change(to_tensor(x), to_tensor(edits)).numpy()
    found: dict[str, dict[str, Any]] = {}
    for what in dict.fromkeys(names):
        mine = np.array(names) == what
        defective = (ratings[mine] == 2).all(1)
        found[what] = {
            "n": int(mine.sum()),
            "ratings": [np.bincount(one, minlength=3).tolist() for one in ratings[mine].T],
            "defective": int(defective.sum()),
            "auroc": _auroc(defective, change[mine]),
        }
    return found


def _auroc(defective: NDArray[np.bool_], change: NDArray[np.float32]) -> float | None:
    return float(roc_auc_score(defective, change)) if 0 < defective.sum() < len(change) else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    sheets, mixed, ratings = (verbs.add_parser(v) for v in ("sheets", "mix", "rated"))
    ratings.add_argument("name")
    for one in (sheets, mixed, ratings):
        one.add_argument("out", type=Path)
    sheets.add_argument("--run", type=Path)
    sheets.add_argument("--people", type=Path, nargs=2, metavar=("GENERATOR", "FOLDER"))
    sheets.add_argument("--grey", action="store_true")
    sheets.add_argument("--set", default="", help="k=v,k=v")
    sheets.add_argument("--most", type=int, default=40)
    ratings.add_argument("ratings", type=Path, nargs="+")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.verb == "mix":
        mix(given.out)
    elif given.verb == "rated":
        keep(
            given.name,
            "blind look",
            f"{len(given.ratings)} raters",
            rated(given.out, given.ratings),
        )
    elif given.run:
        of_run(given.out, given.run, given.most)
    else:
        generator, folder = given.people
        of_people(given.out, generator, folder, given.set, given.grey, given.most)


if __name__ == "__main__":
    main()
