"""One process or several: what a training needs of Accelerate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs

from diffinf_core.diffusion.settings import GeneratorTraining
from diffinf_core.records import DiffInfError, Progress

#: Accelerate's names for the settings of ``precision``
_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def make_accelerator(config: GeneratorTraining, device: str | None) -> Accelerator:
    """Device, precision and process group of a training; ``device`` "cpu", or None for a GPU if any."""
    if not torch.distributed.is_initialized():
        # One process may train again with another precision, as tests do.
        AcceleratorState._reset_state(reset_partial_state=True)
    cpu = device == "cpu" or not torch.cuda.is_available()
    precision: str = config.precision
    if precision == "auto":
        exact = not cpu and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "float32" if cpu else "bfloat16" if exact else "float16"
    if precision == "float16" and cpu:
        raise DiffInfError("precision float16 needs a GPU; use bfloat16 or float32.")
    # In phase one the UNet gets no gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=cpu, mixed_precision=_PRECISION[precision], kwargs_handlers=[unused])


def main_process() -> bool:
    """Whether this process, of those that train together, reports and writes."""
    return _processes().is_main_process


def main_process_first(events: Iterator[Progress]) -> Iterator[Progress]:
    """Preparation that the main process does while the others wait; they then see that it is done."""
    with _processes().main_process_first():
        yield from events


def _processes() -> PartialState:
    # The others may wait for as long as the main process decodes or renders.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))
