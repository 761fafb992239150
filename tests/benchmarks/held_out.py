"""How well generators denoise photographs that no training has seen: those of a run's validation split.

    python -m tests.benchmarks.held_out NAME RUN GENERATOR [GENERATOR ...]

Each under its own normalisation of the latents, with the pictures' covariates and without labels. Kept
beside the other figures of photographs; ``python -m tests.benchmarks.photographs`` writes the tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from diffinf_core.data.part import open_validation
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.conditions import covariate_indices
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.monitor import HeldOut, validation_loss
from diffinf_core.runs.run import Run
from tests.benchmarks.photographs import keep

#: pictures that are denoised, spread evenly over the split
_MOST = 128


@torch.no_grad()
def error(run: Run, generator: DiffusionAutoencoder) -> tuple[float, int]:
    """The mean squared error of v over evenly spread times, and of how many pictures."""
    part = open_validation(run)
    rows = np.unique(np.linspace(0, len(part) - 1, min(_MOST, len(part))).astype(np.int64))
    x = part.tensors(rows)
    x0 = torch.cat([generator.latent(some) for some in x.split(16)])
    attributes = generator.architecture.attributes
    known = covariate_indices(part.table.iloc[rows], attributes)
    for i, attribute in enumerate(attributes):
        if not attribute.covariate:
            known[:, i] = -1
    return validation_loss(generator, HeldOut(x, x0, torch.from_numpy(known)), 0), len(rows)


def main() -> None:
    """Measure each generator."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "generators", type=Path, nargs="+", help="what each holds is its folder's name"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = Run.open(given.run)
    for file in given.generators:
        generator = load_autoencoder(file)
        assert isinstance(generator, DiffusionAutoencoder)
        value, n = error(run, generator)
        what = file.parent.name if file.is_file() else file.name
        keep(given.name, "held out", what, {"error": value, "n": n})
        print(what, value, n, flush=True)


if __name__ == "__main__":
    main()
