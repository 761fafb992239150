"""Faces in a picture: MTCNN, with the weights that come in the package facenet-pytorch.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks"
(2016); https://github.com/timesler/facenet-pytorch, MIT licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.runs.extras import optional_imports

#: longest side in pixels at which faces are looked for, and the shortest that the networks take
LOOK_SIDE, LEAST_SIDE = 640, 40
#: smallest face, in pixels and as a fraction of the picture's shorter side
LEAST_FACE, LEAST_FRACTION = 20, 0.1
#: what the last network must be sure of to call something a face
LEAST_PROBABILITY = 0.9
_THRESHOLDS, _PYRAMID = (0.6, 0.7, 0.7), 0.709


@dataclass(frozen=True)
class Faces:
    """``count`` faces, and of the largest five points (5, 2): both eyes, nose, both corners of the mouth.

    Points are (x, y) in pixels of the picture, the first of which is the square from 0 to 1; the eye left in
    the picture comes first. None where there is no face.
    """

    count: int
    points: NDArray[np.float64] | None = None


@lru_cache(maxsize=1)
def _networks() -> tuple[Any, tuple[Any, ...]]:
    with optional_imports():
        import facenet_pytorch
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
        from facenet_pytorch.models.utils.detect_face import detect_face
    folder = Path(facenet_pytorch.__file__).parent / "data"
    networks = []
    for make, name in ((PNet, "pnet"), (RNet, "rnet"), (ONet, "onet")):
        network = make(pretrained=False)
        network.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
        networks.append(network.eval().requires_grad_(False))
    return detect_face, tuple(networks)


def load_detector() -> None:
    """Load the networks; :class:`DiffInfError` that names the extra where the package is missing."""
    _networks()


def find_faces(image: Image.Image) -> Faces:
    """The faces of an upright RGB picture; the same ones every time."""
    detect, networks = _networks()
    scale = min(1.0, LOOK_SIDE / max(image.size))
    if min(image.size) * scale < LEAST_SIDE:
        scale = LEAST_SIDE / min(image.size)
    sides = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image if sides == image.size else image.resize(sides, Image.Resampling.BILINEAR)
    least = max(LEAST_FACE, int(LEAST_FRACTION * min(sides)))
    with torch.inference_mode():
        try:
            boxes, points = detect(small, least, *networks, list(_THRESHOLDS), _PYRAMID, "cpu")
        except (RuntimeError, IndexError):  # it joins or indexes lists that are empty
            return Faces(0)
    return _largest(np.asarray(boxes[0]), np.asarray(points[0]), np.divide(image.size, sides))


def _largest(boxes: NDArray[Any], points: NDArray[Any], scale: NDArray[np.float64]) -> Faces:
    """Of boxes (n, 5), x0, y0, x1, y1 and probability, and points (n, 5, 2) of a picture scaled down."""
    if not len(boxes):
        return Faces(0)
    sure = boxes[:, 4] >= LEAST_PROBABILITY
    if not sure.any():
        return Faces(0)
    boxes, points = boxes[sure], points[sure]
    largest = int(np.argmax((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
    return Faces(len(boxes), (points[largest].astype(np.float64) + 0.5) * scale)
