"""Arrays from whatever the users of the library hand over."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.records import DiffInfError


def as_array(values: Any, what: str) -> NDArray[Any]:
    """A tensor of any device and type, an array or nested sequences of numbers, as an array.

    ``what`` names the values in the message, in the plural. Raises :class:`DiffInfError` for rows of
    different lengths and for values that are not numbers.
    """
    if isinstance(values, Tensor):
        x = values.detach().cpu()
        # NumPy has no bfloat16
        return (x.float() if x.is_floating_point() and x.element_size() < 4 else x).numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DiffInfError(f"{what} need rows of one length.") from error
    if array.dtype.kind not in "biuf":
        example = array.ravel()[:1].tolist()[0] if array.size else values
        raise DiffInfError(f"{what} need numbers, not {example!r}.")
    return array
