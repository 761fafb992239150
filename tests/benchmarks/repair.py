"""What a repair costs, as a multiple of the network calls it must make:

    python -m tests.benchmarks.repair [--rounds 5]

A repair of a batch is recorded once: every outermost network call with its inputs and whether a gradient
went back through it. The floor is the time to replay exactly these calls, bare. Each round times the
whole repair and the floor in turn; the figure is the median ratio. The whole includes decoding steps,
objective, judging, digests and durable files; inversions are not cached. At 128 px the generator has
random weights, which cost the same; both sides compute in float32. Also: one UNet forward + backward
beside one matrix product of the same floating-point operations, and pictures per second against the
batch size. The table goes to ``docs/generators.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils.flop_counter import FlopCounterMode

from diffinf_core.config import make_config
from diffinf_core.correction.cache import InversionCache
from diffinf_core.correction.repairer import Repairer
from diffinf_core.diffusion.architecture import Attribute
from diffinf_core.diffusion.assets import architecture_for
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.engine import open_run
from diffinf_core.influence.stage import ranking
from diffinf_core.weights.files import card_of, save_weights, shipped
from tests.benchmarks.pages import put

RESULTS = Path(__file__).parent / "results" / "repair.json"
DOC = Path(__file__).parents[2] / "docs" / "generators.md"
SMALL = {
    "split": {"val_share": 0.2, "test_share": 0.2},
    "classifier": {"epochs": 3, "checkpoints": 3},
    "predictor": {"folds": 5, "epochs": 3},
    "influence": {"tau": 30, "checkpoint_rule": "all"},
}
BATCH = 16


@dataclass(frozen=True)
class Call:
    """One outermost network call: inputs, and what a gradient was wanted for."""

    module: nn.Module
    inputs: tuple[Any, ...]
    to_input: bool
    to_weights: bool


def recorded(work: Callable[[], object]) -> list[Call]:
    """Every outermost network call that some work makes."""
    calls: list[Call] = []
    depth = 0

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal depth
        depth += 1
        if depth > 1 or not any(isinstance(i, Tensor) for i in inputs):
            return
        grad = torch.is_grad_enabled()
        wanted = grad and any(isinstance(i, Tensor) and i.requires_grad for i in inputs)
        weights = grad and any(p.requires_grad for p in module.parameters())
        kept = tuple(i.detach().clone() if isinstance(i, Tensor) else i for i in inputs)
        calls.append(Call(module, kept, wanted, weights))

    def after(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal depth
        depth -= 1

    hooks = [register_module_forward_pre_hook(before), register_module_forward_hook(after)]
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _total(out: Any) -> Tensor:
    parts = [out] if isinstance(out, Tensor) else list(out)
    return torch.stack([p.float().sum() for p in parts]).sum()


def replay(calls: list[Call]) -> None:
    """The same calls with nothing around them."""
    for call in calls:
        if not (call.to_input or call.to_weights):
            with torch.no_grad():
                call.module(*call.inputs)
            continue
        inputs = list(call.inputs)
        wanted: list[Tensor] = []
        if call.to_input:
            inputs[0] = inputs[0].requires_grad_(True)
            wanted.append(inputs[0])
        if call.to_weights:
            wanted += [p for p in call.module.parameters() if p.requires_grad]
        torch.autograd.grad(_total(call.module(*inputs)), wanted, allow_unused=True)
        for value in inputs:
            if isinstance(value, Tensor):
                value.requires_grad_(False)


def clock(work: Callable[[], object]) -> float:
    """Seconds, with everything asked of a GPU done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def random_generator(folder: Path, size: int) -> Path:
    """Untrained weights in the shape for a size."""
    attributes = card_of(shipped("generator"))["architecture"]["attributes"]
    conditions = tuple(Attribute.model_validate(a) for a in attributes)
    architecture = architecture_for(size, conditions)
    torch.manual_seed(0)
    file = folder / f"random{size}.safetensors"
    card = {"architecture": architecture.model_dump(mode="json")}
    save_weights(file, DiffusionAutoencoder(architecture), card)
    return file


def prepared(folder: Path, size: int) -> Repairer:
    """A small demo run up to the point where pictures are repaired."""
    over: dict[str, Any] = {**SMALL, "data": {"demo_faces": 400, "image_size": size}}
    if size != 64:
        over["repair"] = {"generator": str(random_generator(folder, size))}
    engine = open_run(folder / f"run{size}", make_config("demo", over))
    for _ in engine.compute("judge"):
        pass
    return Repairer(engine.folder)


def repair(repairer: Repairer, positions: np.ndarray, precision: str = "float32") -> None:
    """One batch, nothing cached."""
    with tempfile.TemporaryDirectory() as cache:
        repairer._inversions = InversionCache(Path(cache))
        config = repairer.run.config.repair.model_copy(update={"precision": precision})
        for _ in repairer.repair(positions, config):
            pass


def cost(repairer: Repairer, rounds: int) -> dict[str, Any]:
    """Whole repair against its network calls."""
    high = np.flatnonzero(ranking(repairer.run)["high"].to_numpy())
    calls = recorded(lambda: repair(repairer, high[:BATCH]))
    # Recording cloned the inputs; a first round warms up both sides.
    repair(repairer, high[:BATCH])
    replay(calls)
    whole, floor = [], []
    for _ in range(rounds):
        whole.append(clock(lambda: repair(repairer, high[:BATCH])))
        floor.append(clock(lambda: replay(calls)))
    names = [type(c.module).__name__ for c in calls]
    out: dict[str, Any] = {
        "ratio": statistics.median(w / f for w, f in zip(whole, floor, strict=True)),
        "seconds_per_image": statistics.median(whole) / BATCH,
        "calls": {name: names.count(name) for name in sorted(set(names))},
        "images_per_second": {},
    }
    for batch in (1, 4, BATCH):
        times = [clock(partial(repair, repairer, high[:batch])) for _ in range(3)]
        out["images_per_second"][str(batch)] = batch / statistics.median(times)
    return out


def unet_cost(
    generator: DiffusionAutoencoder, rounds: int, where: torch.device
) -> dict[str, float]:
    """One forward + backward of the UNet beside a matrix product of as many operations."""
    size = generator.architecture.image_size
    x = torch.randn(BATCH, 3, size, size, device=where).contiguous(
        memory_format=torch.channels_last
    )
    z = torch.randn(BATCH, generator.architecture.z_dim, device=where)
    t = torch.full((BATCH,), 300, device=where)
    generator.unet.requires_grad_(True)
    weights = list(generator.unet.parameters())

    def unet() -> None:
        torch.autograd.grad(generator.unet(x, t, z, None).sum(), weights, allow_unused=True)

    with FlopCounterMode(display=False) as counter:
        unet()
    flops = counter.get_total_flops()
    side = 1024
    a, b = torch.randn(2, side, side, device=where)
    repeats = max(1, round(flops / (2 * side**3)))

    def product() -> None:
        for _ in range(repeats):
            torch.mm(a, b)

    product()
    ratios, seconds = [], []
    for _ in range(rounds):
        mine, theirs = clock(unet), clock(product)
        seconds.append(mine)
        ratios.append(mine / (theirs * flops / (repeats * 2 * side**3)))
    generator.unet.requires_grad_(False)
    return {
        "gflop": flops / 1e9,
        "milliseconds_per_image": 1000 * statistics.median(seconds) / BATCH,
        "ratio_to_matrix_product": statistics.median(ratios),
    }


def table(found: dict[str, Any]) -> str:
    """The page's figures."""
    lines = [
        f"Measured on a {found['device']}, batch of {BATCH}, median of {found['rounds']} interleaved "
        "rounds.",
        "",
        "| pictures | whole repair / its network calls | seconds per image | images per second, batch "
        f"1, 4, {BATCH} | UNet forward + backward / matrix product of the same operations |",
        "|---|---|---|---|---|",
    ]
    for size, row in found["sizes"].items():
        speeds = ", ".join(f"{v:.2f}" for v in row["repair"]["images_per_second"].values())
        unet = row["unet"]
        lines.append(
            f"| {size} px | {row['repair']['ratio']:.2f} | {row['repair']['seconds_per_image']:.2f} "
            f"| {speeds} | {unet['ratio_to_matrix_product']:.1f} "
            f"({unet['milliseconds_per_image']:.0f} ms per image) |"
        )
    calls = next(iter(found["sizes"].values()))["repair"]["calls"]
    listed = ", ".join(f"{n} {name}" for name, n in calls.items())
    return "\n".join([*lines, "", f"Calls per batch: {listed}."])


def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    given = parser.parse_args()
    torch.set_num_threads(1)
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = {
        "device": "GPU" if where.type == "cuda" else "CPU, one thread",
        "rounds": given.rounds,
        # a size that is not measured now keeps its figures
        "sizes": json.loads(RESULTS.read_text())["sizes"] if RESULTS.exists() else {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        for size in given.sizes:
            repairer = prepared(Path(scratch), size)
            unet = load_autoencoder(
                repairer.run.config.repair.generator or shipped("generator"), device=where
            )
            assert isinstance(unet, DiffusionAutoencoder)
            found["sizes"][str(size)] = {
                "repair": cost(repairer, given.rounds),
                "unet": unet_cost(unet, given.rounds, where),
            }
            print(size, json.dumps(found["sizes"][str(size)]), flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    if DOC.exists():
        put(DOC, "cost", table(found))


if __name__ == "__main__":
    main()
