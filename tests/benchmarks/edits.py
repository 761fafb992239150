"""The demo's ages, what a perfect edit would score, and the worst edits of both attributes:

    python -m tests.benchmarks.edits [--out runs/bench] [--age runs/bench-age]

``--out`` is the run of :mod:`tests.benchmarks.demo`. The ages are repaired at tau = 10 % and 20 % and their
arms retrained over three seeds; ``--again`` repairs them once more with other wrong labels and weights.
Writes ``results/edits.json``, the block of ages in ``docs/repair.md`` and the contact sheets
``docs/images/worst_*.png``: originals above, edits below.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diffinf_core.config import make_config
from diffinf_core.correction.networks import IdentityNet
from diffinf_core.data.part import to_tensor
from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.render import render_face
from diffinf_core.diffusion.figures import ssim
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.records import Edit
from diffinf_core.weights.files import load_weights, shipped
from tests.benchmarks.demo import control, drive
from tests.benchmarks.pages import REPAIR, put

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "edits.json"
IMAGES = ROOT / "docs" / "images"
WORST = 10
ARMS = ("noisy", "removal", "repaired", "relabelled")
TAUS = {"tau10": 10.0, "tau20": 20.0}


def perfect(count: int = 200, seed: int = 99) -> dict[str, dict[str, float]]:
    """What the renderer's own answer scores: the same person and photograph, one attribute changed."""
    net = load_weights(shipped("identity"), IdentityNet())
    pictures: dict[str, list[np.ndarray]] = {"original": [], "age": [], "expression": []}
    for i in range(count):
        rng = np.random.default_rng((seed, 2, i))
        person = faces.sample_identity(rng)
        kind, years = int(rng.integers(4)), int(rng.integers(3))

        def shown(k: int, rng: np.random.Generator = rng) -> faces.Expression:
            return faces.sample_expression(
                rng, k, None if k == faces.NEUTRAL else rng.uniform(0.4, 1)
            )

        expression, age = shown(kind), faces.sample_age(rng, years)
        nuisance = faces.sample_nuisance(rng)
        other_age = faces.sample_age(rng, (years + 1 + i % 2) % 3)
        other = shown((kind + 1 + i % 3) % 4)
        for name, e, a in (
            ("original", expression, age),
            ("age", expression, other_age),
            ("expression", other, age),
        ):
            pictures[name].append(render_face(person, e, a, nuisance, 64)[0])
    x = to_tensor(np.stack(pictures["original"]))
    out = {}
    with torch.no_grad():
        for name in ("age", "expression"):
            y = to_tensor(np.stack(pictures[name]))
            same = (net(x) * net(y)).sum(1)
            out[name] = {
                "ssim": float(ssim(x, y).mean()),
                "identity_mean": float(same.mean()),
                "identity_p10": float(same.quantile(0.1)),
            }
    return out


def stored(run: OpenRun) -> list[Edit]:
    """The edits of a run's queue."""
    return [run.pictures.record(r.id, r.version) for r in run.queue.itertuples()]


def worst(run: OpenRun, name: str) -> dict[str, list[dict[str, Any]]]:
    """The ten worst by judge and by identity; a sheet for each."""
    classes = list(run.training.classes)

    def judged(edit: Edit) -> float:
        return edit.judge_after[classes.index(edit.label)]

    keys = {"judge": judged, "identity": lambda e: e.identity or 0.0}
    out = {}
    for by, key in keys.items():
        edits = sorted(stored(run), key=key)[:WORST]
        sheet(run, edits, IMAGES / f"worst_{name}_{by}.png")
        out[by] = [
            {
                "label": e.label,
                "saw": classes[int(np.argmax(e.judge_before))],
                "sees": classes[int(np.argmax(e.judge_after))],
                "judge": round(judged(e), 3),
                "identity": round(e.identity or 0.0, 3),
                "flags": list(e.flags),
            }
            for e in edits
        ]
    return out


def sheet(run: OpenRun, edits: list[Edit], file: Path) -> None:
    """Originals above, edits below."""
    side, gap, scale = run.training.size, 3, 2
    canvas = np.full((2 * side + gap, len(edits) * (side + gap), 3), 255, np.uint8)
    for i, e in enumerate(edits):
        x = i * (side + gap)
        canvas[:side, x : x + side] = run.pictures.original(e.sample)
        canvas[side + gap :, x : x + side] = run.pictures.edit(e.sample, e.version)
    big = Image.fromarray(canvas)
    size = (canvas.shape[1] * scale, canvas.shape[0] * scale)
    big.resize(size, Image.Resampling.LANCZOS).save(file, optimize=True)


def block(found: dict[str, Any]) -> str:
    """The page's table of ages, beside what a perfect edit scores."""
    r, p, c = found["age"]["repair"], found["perfect"], found["age"]["control"]
    a = found["again"]["repair"]
    one = found["one"]["repair"]

    def judged(r: dict[str, Any]) -> str:
        by_class = r["judge_agreement_mislabelled_by_class"].items()
        return f"{r['judge_agreement_mislabelled']:.2f} ({', '.join(f'{k} {v:.2f}' for k, v in by_class)})"

    def same(r: dict[str, Any]) -> str:
        return f"{r['identity_mean']:.3f} ({r['identity_p10']:.3f})"

    def flags(r: dict[str, Any]) -> str:
        return ", ".join(f"{k} {v}" for k, v in sorted(r["flagged"].items()))

    return "\n".join(
        [
            f"| repair of the top 10 %, {r['n']} pictures | smallest change | one attempt | same person "
            "drawn at another age |",
            "|---|---|---|---|",
            "| judge sees the assigned label, mislabelled images "
            f"({r['judge_agreement_mislabelled_before']:.2f} before) | {judged(r)} | {judged(one)} | |",
            f"| identity cosine, mean (10th percentile) | {same(r)} | {same(one)} | {same(p['age'])} |",
            f"| SSIM | {r['ssim_mean']:.3f} | {one['ssim_mean']:.3f} | {p['age']['ssim']:.3f} |",
            f"| flags | {flags(r)} | {flags(one)} | |",
            f"| seconds per image, all attempts | {r['seconds_per_image']:.2f} "
            f"| {one['seconds_per_image']:.2f} | |",
            "",
            f"Of the {c['n']} mislabelled images {c['default']['flagged_adversarial']:.0%} are flagged "
            f"as adversarial, of the control that follows h alone {c['h_only']['flagged_adversarial']:.0%}.",
            "",
            "Retrained on them, three seeds, mean ± standard deviation of the accuracy in per cent:",
            "",
            "| training set | tau = 10 % | tau = 20 % |",
            "|---|---|---|",
            *(
                f"| {arm} | " + " | ".join(accuracy(found["age"][tau][arm]) for tau in TAUS) + " |"
                for arm in ARMS
            ),
            "",
            "The settings were chosen on these pictures. With other wrong labels and weights the judge "
            f"sees the label in {a['judge_agreement_mislabelled']:.2f} (worst class "
            f"{min(a['judge_agreement_mislabelled_by_class'].values()):.2f}), identity "
            f"{a['identity_mean']:.3f} ({a['identity_p10']:.3f}), SSIM {a['ssim_mean']:.3f}, "
            f"{a['flagged'].get('adversarial', 0)} of {a['n']} flagged adversarial.",
            "",
            "An age changes hair and skin, so even the right answer has an SSIM of "
            f"{p['age']['ssim']:.2f} to the original; for expressions it has "
            f"{p['expression']['ssim']:.2f} (identity {p['expression']['identity_mean']:.3f}, "
            f"{p['expression']['identity_p10']:.3f}).",
        ]
    )


def accuracy(row: dict[str, float]) -> str:
    """Mean and deviation in per cent."""
    return f"{100 * row['accuracy']:.1f} ± {100 * row['accuracy_sd']:.1f}"


def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--age", type=Path, default=Path("runs/bench-age"))
    parser.add_argument("--again", type=Path, default=Path("runs/bench-age-again"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    arms = {}
    for name, tau in reversed(TAUS.items()):  # the run is left at 10 %
        over = {"influence": {"tau": tau}, "retrain": {"arms": ARMS}}
        age = open_run(given.age, make_config("demo-age", over))
        drive(age.compute())
        drive(age.retrain())
        arms[name] = {arm: age.report()["arms"][arm] for arm in ARMS}
    one = open_run(given.age, make_config("demo-age", {"repair": {"tries": "one"}}))
    drive(one.compute())
    single = one.report()["repair"]
    age = open_run(given.age, make_config("demo-age"))
    drive(age.compute())
    other = {"noise": {"seed": 1}, "classifier": {"seed": 1}}
    again = open_run(given.again, make_config("demo-age", other))
    drive(again.compute())
    expression = open_run(given.out, make_config("demo"))
    drive(expression.compute())
    found = {
        "perfect": perfect(),
        "age": {"repair": age.report()["repair"], "control": control(age, most=1000), **arms},
        "one": {"repair": single},
        "again": {"repair": again.report()["repair"]},
        "worst": {"expression": worst(expression, "expression"), "age": worst(age, "age")},
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    put(REPAIR, "ages", block(found))


if __name__ == "__main__":
    main()
