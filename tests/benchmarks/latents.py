"""What a generator on latents costs beside its bare network calls, and bfloat16 beside float32:

    python -m tests.benchmarks.latents FIRST_STAGE [--rounds 5]

FIRST_STAGE is the folder of an autoencoder of the TAESD family. Pictures of 128 pixels of the rendered
faces, one thread. Three parts, each timed in turn with its floor: encoding pictures into files against the
encoder on the same pictures; a training step against forward and backward of its loss on a batch that is
there; a whole repair by inpainting, nothing cached, against a replay of the network calls that it makes.
Weights are random, which costs the same. The table goes to ``docs/photographs.md``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffinf_core.config import PRESETS, change, make_config
from diffinf_core.correction.repairer import Repairer
from diffinf_core.data.part import open_training, to_tensor
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder, half_precision
from diffinf_core.diffusion.copies import copied
from diffinf_core.diffusion.first_stage import BESIDE, load_first_stage
from diffinf_core.diffusion.latent_source import Conditions, LatentSource
from diffinf_core.diffusion.latents import encode_latents, open_latents
from diffinf_core.diffusion.on_latents import LatentOptions, train_on_latents
from diffinf_core.diffusion.settings import ON_LATENTS, GeneratorTraining
from diffinf_core.diffusion.sources import read_ahead
from diffinf_core.diffusion.trainer import _Trainer
from diffinf_core.engine import open_run
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.run import Run, StageFolder
from tests.benchmarks.pages import RESULTS, ROOT, put
from tests.benchmarks.repair import BATCH, SMALL, clock, recorded, repair, replay

FILE, PAGE = RESULTS / "latents.json", ROOT / "docs" / "photographs.md"
_SIZE, _PICTURES, _STEPS = 128, 64, 8
_CPU = torch.device("cpu")


def interleaved(
    whole: Callable[[], object], floor: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Median ratio of two works timed in turn, and the median seconds of the first."""
    whole(), floor()
    times = [(clock(whole), clock(floor)) for _ in range(rounds)]
    return statistics.median(a / b for a, b in times), statistics.median(a for a, _ in times)


def encoding(run: Run, rounds: int, precision: torch.dtype) -> dict[str, float]:
    """Encoding pictures into a stage's files against the encoder alone."""
    train = open_training(run)
    stage = load_first_stage(run.root / "generator" / BESIDE)
    parts = [to_tensor(train.images(np.arange(i, i + 16))) for i in range(0, _PICTURES, 16)]

    def whole() -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = StageFolder(Path(name) / "latents", "x")
            for _ in encode_latents(folder, stage, train.images, _PICTURES, _SIZE, 2, precision):
                pass

    views = [copied(x, k, 0) for x in parts for k in range(2)]

    def floor() -> None:
        with half_precision(_CPU, precision):
            for x in views:
                stage.encode(x)

    ratio, seconds = interleaved(whole, floor, rounds)
    return {"ratio": ratio, "per_second": 2 * _PICTURES / seconds}


def training(run: Run, rounds: int, precision: str) -> dict[str, float]:
    """Optimiser steps of a training against forward and backward of its loss."""
    train = open_training(run)
    latents = open_latents(StageFolder(run.root / "bench-latents", "x"))
    source = LatentSource(
        latents, train, Conditions(train.labels, np.zeros((len(train), 0), np.int64))
    )
    settings = GeneratorTraining(**{**ON_LATENTS, "precision": precision, "label_free_after": 1})
    generator = Repairer(run).generator
    architecture: Any = generator.architecture
    with tempfile.TemporaryDirectory() as name:
        stage = load_first_stage(run.root / "generator" / BESIDE)
        trainer = _Trainer(
            source, architecture, settings, Path(name) / "x.ckpt", "cpu", None, {}, stage
        )
        batches = read_ahead(source, 0, itertools.count(), 0, 1, settings.batch_size, 2)
        parts = next(batches)
        net = trainer._net
        kind = torch.bfloat16 if precision == "bfloat16" else None

        def whole() -> None:
            for step, (_, given) in enumerate(zip(range(_STEPS), batches, strict=False)):
                trainer.take_step(step + 1000, given, 1e-5)

        def floor() -> None:
            for _ in range(_STEPS):
                with half_precision(_CPU, kind):
                    loss = net(parts[0], _CPU, False)["loss"]
                torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)

        ratio, seconds = interleaved(whole, floor, rounds)
        batches.close()
    return {"ratio": ratio, "per_second": _STEPS * settings.batch_size / seconds}


def repairing(run: Run, rounds: int, precision: str) -> dict[str, float]:
    """A whole repair against its network calls."""
    config = change(run.config, {"repair": {"precision": precision}})
    repairer = Repairer(Run(run.root, config))
    generator = repairer.generator
    assert isinstance(generator, DiffusionAutoencoder)
    halved = {generator.unet, *generator.first_stage.children()}
    high = np.flatnonzero(ranking(run)["high"].to_numpy())[:BATCH]
    calls = recorded(lambda: repair(repairer, high, precision))
    kind = torch.bfloat16 if precision == "bfloat16" else None

    def floor() -> None:
        for call in calls:
            with half_precision(_CPU, kind if call.module in halved else None):
                replay([call])

    ratio, seconds = interleaved(lambda: repair(repairer, high, precision), floor, rounds)
    return {"ratio": ratio, "per_second": BATCH / seconds}


def prepared(folder: Path, first_stage: Path) -> Run:
    """A small run of 128 pixels with a generator on latents that has hardly been trained."""
    over = {**SMALL, "data": {"demo_faces": 400, "image_size": _SIZE}}
    over["repair"] = PRESETS["photographs"]["repair"]
    opened = open_run(folder / "run", make_config("demo", over))
    for _ in opened.compute("judge"):
        pass
    quick = {"steps": 1, "copies": 1, "label_free_after": 1}
    for _ in train_on_latents(
        opened.folder, quick, None, None, 1.0, LatentOptions(str(first_stage))
    ):
        pass
    run, stage = opened.folder, load_first_stage(opened.folder.root / "generator" / BESIDE)
    train = open_training(run)
    for _ in encode_latents(
        StageFolder(run.root / "bench-latents", "x"), stage, train.images, len(train), _SIZE, 1
    ):
        pass
    return run


def table(found: dict[str, Any]) -> str:
    """The page's figures."""
    lines = [
        f"One thread of a CPU, {_SIZE} pixels, batches of 16 (training: 32), median of "
        f"{found['rounds']} interleaved rounds.",
        "",
        "| | float32 / its network calls | bfloat16 / its network calls | pictures per second, float32 "
        "| bfloat16 |",
        "|---|---|---|---|---|",
    ]
    for name in ("encoding", "training", "repair"):
        a, b = (found[name][kind] for kind in ("float32", "bfloat16"))
        lines.append(
            f"| {name} | {a['ratio']:.2f} | {b['ratio']:.2f} | {a['per_second']:.1f} "
            f"| {b['per_second']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first_stage", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"rounds": given.rounds}
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    with tempfile.TemporaryDirectory() as scratch:
        run = prepared(Path(scratch), given.first_stage)
        found["encoding"] = {k: encoding(run, given.rounds, v) for k, v in kinds.items()}
        found["training"] = {k: training(run, given.rounds, k) for k in kinds}
        found["repair"] = {k: repairing(run, given.rounds, k) for k in kinds}
    print(json.dumps(found, indent=1))
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    put(PAGE, "latents", table(found))


if __name__ == "__main__":
    main()
