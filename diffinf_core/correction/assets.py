"""Train one of the small shipped networks and store it with its model card."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from torch import nn

from diffinf_core.correction.train_perceptors import HELD_OUT_SCENES, RECIPES, train_network
from diffinf_core.data.rendered.scenes import open_scenes, render_scenes
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.weights.files import save_weights


def train_asset(
    name: str, out: Path, scenes: int, scene_seed: int, cache: Path
) -> Iterator[Progress]:
    """Train "identity", "parsing", "perceptual" or "judge" on rendered scenes."""
    if name not in RECIPES:
        raise DiffInfError(f"Unknown network {name!r}; choose one of {', '.join(RECIPES)}.")
    folder = cache / f"{scenes}-{scene_seed}"
    yield from render_scenes(folder, scenes, scene_seed)
    began = time.perf_counter()

    def keep(net: nn.Module, figures: dict[str, float]) -> None:
        card = {
            "network": type(net).__name__,
            "training": asdict(RECIPES[name]),
            "data": {
                "kind": "rendered scenes, no real person",
                "scenes": scenes,
                "held_out_scenes": HELD_OUT_SCENES,
                "seed": scene_seed,
            },
            "command": f"diffinf train-perceptor {name} --out {out} "
            f"--scenes {scenes} --scene-seed {scene_seed}",
            "seconds": round(time.perf_counter() - began),
            "figures": figures,
        }
        save_weights(out / f"{name}.safetensors", net, card)

    yield from train_network(name, open_scenes(folder), keep)
