"""Which number type a processor computes faster in: measured, as not every processor that accepts bfloat16
gains by it."""

from __future__ import annotations

import time
from typing import Literal

import torch
from torch import Tensor

from diffinf_core.diffusion.autoencoder import half_precision
from diffinf_core.diffusion.first_stage import FirstStage

_ROUNDS = 3
#: bfloat16 must take less than this fraction of float32's time to be worth its rounding
_WORTH = 0.85


@torch.no_grad()
def measured_precision(stage: FirstStage, x: Tensor) -> Literal["float32", "bfloat16"]:
    """The better type for a first stage, and networks like it, on the device of pictures x (B, 3, S, S)."""
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(_ROUNDS):  # interleaved, so that other load meets both
        for kind in best:
            began = time.perf_counter()
            with half_precision(x.device, kind):
                stage.encode(x)
            if x.device.type == "cuda":
                torch.cuda.synchronize()
            best[kind] = min(best[kind], time.perf_counter() - began)
    faster = best[torch.bfloat16] < _WORTH * best[torch.float32]
    return "bfloat16" if faster else "float32"
