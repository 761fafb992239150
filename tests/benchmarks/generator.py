"""What a generator trained on one's own pictures can do, on pictures that its training did not see:

    diffinf run FOLDER --out RUN --until data --set noise.rate=0.3
    diffinf train-generator --run RUN
    python -m tests.benchmarks.generator RUN --about "what the pictures are"

Reconstruction on the test split, and whether the label moves what a judge sees: a network trained here
on the true labels, which the generator never was. Only figures are kept, never a picture. The table
goes to ``docs/generators.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.correction.judge import _augment
from diffinf_core.correction.networks import JudgeNet
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.figures import reconstruction_figures, ssim
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.runs.run import Run
from diffinf_core.weights.files import card_of
from tests.benchmarks.pages import put

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "generator_photographs.json"
DOC = ROOT / "docs" / "generators.md"
SHOWN, GUIDANCE, T0S = 120, (1.0, 3.0), (600, 900)


def apparent(run: Run, epochs: int) -> tuple[JudgeNet, float]:
    """A judge trained on true labels, and its accuracy on the test split."""
    train, test = open_training(run), open_truth(run, "benchmark").test()
    truth = open_truth(run, "benchmark").training()
    labels = torch.from_numpy(train.labels if truth is None else truth[0])
    torch.manual_seed(5)
    net = JudgeNet((len(train.classes),)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * max(0.02, 0.5 * (1 + np.cos(np.pi * epoch / epochs)))
        for rows in torch.randperm(len(train)).split(64):
            (logits,) = net(_augment(train.tensors(rows.numpy())))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    net.eval().requires_grad_(False)
    found = seen(net, test.tensors(np.arange(len(test))))
    return net, float((found.argmax(1) == torch.from_numpy(test.labels)).float().mean())


@torch.no_grad()
def seen(net: JudgeNet, x: Tensor) -> Tensor:
    """Class probabilities (B, C)."""
    return torch.cat([F.softmax(net(part)[0], 1) for part in x.split(128)])


@torch.no_grad()
def moved(
    model: DiffusionAutoencoder, net: JudgeNet, x: Tensor, t0: int, w: float
) -> dict[str, Any]:
    """What the judge sees when the same pictures are decoded under each label."""
    rows = []
    classes = model.architecture.attributes[0].classes
    codes = [(z := model.encode(part), model.invert(part, z, 8, t0)) for part in x.split(40)]
    for k, name in enumerate(classes):
        made = []
        for z, x_T in codes:
            label = torch.full((len(z), 1), k)
            made.append(model.decode(x_T, z, 8, t0, label, w).clamp(-1, 1))
        out = torch.cat(made)
        p = seen(net, out)
        order = torch.arange(len(classes)).float()
        rows.append(
            {
                "label": name,
                "share_seen_as_it": float((p.argmax(1) == k).float().mean()),
                "mean_position": float((p @ order).mean()),
                "ssim": float(ssim(out, x).mean()),
            }
        )
    return {"t0": t0, "guidance": w, "labels": rows}


def table(found: dict[str, Any]) -> str:
    """The page's figures."""
    r, card = found["reconstruction"], found["card"]
    names = [row["label"] for row in found["moved"][0]["labels"]]
    lines = [
        f"{found['about']} {card['steps']:,} steps in {card['seconds'] / 60:.0f} minutes on a "
        f"{card['device'].upper()}; {found['n']} test pictures. Reconstruction (t0 600, 8 steps): "
        f"L1 {r['reconstruction_l1']:.1f} of 255, SSIM {r['reconstruction_ssim']:.2f}. The judge, trained "
        f"on true labels, is right on {found['judge_accuracy']:.0%} of the test pictures and puts the "
        f"originals at {found['position_before']:.2f} on the scale from 0 ({names[0]}) to "
        f"{len(names) - 1} ({names[-1]}).",
        "",
        "| t0 | guidance | " + " | ".join(f"to {n}: position (SSIM)" for n in names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for row in found["moved"]:
        cells = [f"{k['mean_position']:.2f} ({k['ssim']:.2f})" for k in row["labels"]]
        lines.append(f"| {row['t0']} | {row['guidance']:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--about", default="")
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.run is not None:
        run = Run.open(given.run)
        file = run.config.repair.generator or run.root / "generator" / "generator.safetensors"
        model = load_autoencoder(file)
        assert isinstance(model, DiffusionAutoencoder)
        net, accuracy = apparent(run, given.epochs)
        test = open_truth(run, "benchmark").test()
        x = test.tensors(np.linspace(0, len(test) - 1, min(SHOWN, len(test))).astype(int))
        order = torch.arange(len(test.classes)).float()
        card = card_of(file)
        found: dict[str, Any] = {
            "about": given.about,
            "n": len(x),
            "card": {
                "steps": card.get("steps_made")
                or card["training"]["steps"] + card["training"]["warmup_steps"],
                "seconds": card["seconds"],
                "device": card["device"],
            },
            "reconstruction": reconstruction_figures(model, x),
            "judge_accuracy": accuracy,
            "position_before": float((seen(net, x) @ order).mean()),
            "moved": [moved(model, net, x, t0, w) for t0 in T0S for w in GUIDANCE],
        }
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        print(table(found))
    if DOC.exists():
        put(DOC, "photographs", table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
