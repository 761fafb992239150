"""Weights of the published judges where the product looks for them, real or random."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffinf_core.correction.published.age import FaceAge
from diffinf_core.correction.published.dlib import DlibAge, DlibIdentity
from diffinf_core.correction.published.expression import FaceExpression
from diffinf_core.correction.published.mini_xception import MiniXception

#: our files: networks by prefix, and the file of each in shared/data/weights
_FILES = {
    "face-api": {
        "expression.": (FaceExpression, "expression"),
        "age_gender.": (FaceAge, "age_gender"),
        "recognition.": (DlibIdentity, "recognition"),
    },
    "dlib-age": {"": (DlibAge, "dlib_age")},
    "mini-xception": {"": (MiniXception, "mini_xception")},
}


def decoded(file: Path) -> dict[str, Tensor]:
    """A weight file whose 8-bit codes are decoded."""
    raw = load_file(file)
    return {
        k: (v.float() * raw[k + ".step"] + raw[k + ".zero"]).half() if v.dtype == torch.uint8 else v
        for k, v in raw.items()
        if not k.endswith((".step", ".zero"))
    }


def place_judges(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    real: Path | None = None,
    names: tuple[str, ...] = (),
) -> None:
    """Put the judges' weights into a folder and name it; random ones where ``real`` is None."""
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(11)
    for name in names or tuple(_FILES):
        tensors: dict[str, Tensor] = {}
        for prefix, (network, file) in _FILES[name].items():
            state = decoded(real / f"{file}.safetensors") if real else network().state_dict()
            tensors |= {prefix + k: v.half() for k, v in state.items()}
        save_file(tensors, folder / f"{name}.safetensors")
