"""Arrays from whatever the users of the library hand over."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffinf_core.influence.arrays import as_array
from diffinf_core.records import DiffInfError


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_tensor_of_every_type_keeps_its_values(kind: torch.dtype) -> None:
    values = torch.tensor([[1.5, -2.0], [0.25, 8.0]], dtype=kind, requires_grad=True)
    assert as_array(values, "Values").tolist() == [[1.5, -2.0], [0.25, 8.0]]


def test_whole_numbers_and_flags_stay_what_they_are() -> None:
    assert as_array(torch.tensor([3, 1]), "Labels").dtype == np.int64
    assert as_array([True, False], "Flags").dtype == np.bool_


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2.0], [3.0]], "Features need rows of one length."),
        (["happy", "sad"], "Features need numbers, not 'happy'."),
        ([None, 1], "Features need numbers, not None."),
        ({"a": 1}, "Features need numbers, not {'a': 1}."),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(values: object, message: str) -> None:
    with pytest.raises(DiffInfError) as error:
        as_array(values, "Features")
    assert str(error.value) == message
